"""What does a person see if a stream has a trouble? The status over time, and each fact once."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

import anyio
import pytest

from poller.errors import CannotChange
from poller.facts import (
    BatchBisected,
    BatchInvoked,
    BatchRetried,
    DestinationFailed,
    InvocationPostponed,
    InvocationRecordDelivered,
    MappingWaitEnded,
    MappingWaiting,
    RecordsDropped,
    ShardBlocked,
    ShardUnblocked,
)
from poller.model.invocation import Answered, FunctionError, Invocation, Response, Throttled
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard, MappingStatus, StreamStatus
from poller.model.stream import SequenceNumber, ShardId
from tests.fakes.clock import EPOCH
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.simulation.life import Life
from tests.simulation.one_stream import FAILURES, KinesisWorld, play, play_life

F = TypeVar("F")

LOWER, UPPER = 0, 2**127
"""Two hash keys: one in the first shard, and one in the second shard."""


class Watched(KinesisWorld):
    """Two shards with five records each, `a` in the first and `b` in the second. Their status is read every second."""

    busy_until = 0.0
    answer_until: tuple[float, Response] = (0.0, Answered(b""))
    records = 5

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.numbers: dict[str, SequenceNumber] = {}

    async def invoke(self, invocation: Invocation) -> Response:
        if anyio.current_time() < self.busy_until:
            return Throttled(reason="TooManyRequestsException")
        until, answer = self.answer_until
        if anyio.current_time() < until:
            return answer
        return await super().invoke(invocation)

    def watch(self, *, seconds: int = 120) -> list[MappingStatus]:
        statuses: list[MappingStatus] = []

        async def until(life: Life) -> None:
            for number in range(self.records):
                self.put_in(LOWER, f"a/{number}")
                self.put_in(UPPER, f"b/{number}")
            for _ in range(seconds):
                await anyio.sleep(1)
                statuses.append(life.supervisor.statuses()[0])
            life.begin_stop()

        async def main() -> None:
            await self.live(until)

        play(self, main, shards=2)
        return statuses

    def put_in(self, hash_key: int, name: str) -> None:
        """Put a record and keep its sequence number. Each name has its own key, so that the lanes share the records."""
        self.numbers[name] = SequenceNumber(self.put_at(hash_key, name, key=name))

    def shard(self, index: int) -> ShardId:
        return ShardId(self.stream.shards(now=0.0)[index].shard_id)


def streams(statuses: list[MappingStatus]) -> list[StreamStatus]:
    return [status.stream for status in statuses if status.stream is not None]


def test_a_shard_with_a_poison_record_is_shown_as_blocked_until_the_record_is_given_up() -> None:
    world = Watched(maximum_retry_attempts=5)
    world.poison = {"a/0"}
    statuses = world.watch()
    seen = streams(statuses)
    standing = [status for status in seen if status.shards_blocked]
    assert len(standing) > 5
    assert seen[: len(standing)] == standing, "once it goes on, it is not blocked again"
    tries = [shard for status in standing for shard in status.blocked]
    [shard] = {shard._replace(attempt=None, next_try=None) for shard in tries}
    assert [*dict.fromkeys(shard.attempt for shard in tries)] == [*range(tries[0].attempt or 0, 6)]
    batch = (5, world.numbers["a/0"], world.numbers["a/4"])
    assert shard == BlockedShard(
        world.shard(0),
        "ValueError",
        shard.since,
        *batch,
        detail="by plan",
        keys=("a/0", "a/1", "a/2", "a/3", "a/4"),
        oldest_arrived_at=EPOCH,
        actions=("retry", "bisect", "discard"),
        is_function_error=True,
    )
    assert shard.since == pytest.approx(EPOCH, abs=1)
    assert {status.shards_blocked for status in standing} == {1}
    assert (
        max(status.unblocked_age_in_seconds for status in standing) < 5 < (standing[-1].iterator_age_in_seconds or 0.0)
    )
    assert {(status.state, status.reason) for status in statuses} == {("ready", None)}
    assert set(world.succeeded) == {f"b/{number}" for number in range(5)}
    [blocked], [unblocked] = world.facts_of(ShardBlocked), world.facts_of(ShardUnblocked)
    assert blocked == ShardBlocked(blocked.mapping, world.shard(0), "ValueError", *batch, detail="by plan")
    assert unblocked.shard == world.shard(0)
    assert unblocked.blocked_seconds == pytest.approx(len(standing), abs=2)


def test_a_throttled_function_makes_the_mapping_wait_until_it_runs_a_batch() -> None:
    world = Watched()
    world.busy_until = 30.0
    statuses = world.watch()
    waiting = [status for status in statuses if status.state == "waiting"]
    assert statuses[: len(waiting)] == waiting
    assert 30 <= len(waiting) <= 52, "the longest pause between two tries is 20 s"
    assert {status.reason for status in waiting} == {"function f is throttled: TooManyRequestsException"}
    assert [*{status.since for status in waiting}] == [pytest.approx(EPOCH, abs=1)]
    attempts = [status.attempt or 0 for status in waiting]
    assert attempts == sorted(attempts)
    assert attempts[-1] > 5
    for second, status in enumerate(waiting[:30], start=1):
        assert EPOCH + second < (status.next_try or 0.0) <= EPOCH + second + 20
    assert {(status.state, status.reason, status.attempt) for status in statuses[len(waiting) :]} == {
        ("ready", None, None)
    }
    assert len(world.facts_of(MappingWaiting)) == len(world.facts_of(MappingWaitEnded)) == 1


def test_a_batch_that_fails_in_the_init_of_the_function_waits_for_its_next_try() -> None:
    world = Watched()
    error = FunctionError(error_type="Runtime.ImportModuleError", message="No module named 'x'")
    world.answer_until = (30.0, error)
    waiting = [status for status in world.watch() if status.state == "waiting"]
    assert len(waiting) >= 30
    assert waiting[0].reason == "function f cannot start: Runtime.ImportModuleError: No module named 'x'"
    for second, status in enumerate(waiting[:30], start=1):
        assert EPOCH + second < (status.next_try or 0.0) <= EPOCH + second + 30


def test_the_iterator_age_grows_with_the_oldest_record_that_is_not_done() -> None:
    world = Watched(maximum_retry_attempts=5)
    world.poison = {"a/0"}
    seen = streams(world.watch())
    standing = [status for status in seen if status.shards_blocked]
    ages = [status.iterator_age_in_seconds for status in standing]
    assert ages == pytest.approx([float(second) for second in range(1, len(ages) + 1)], abs=0.1)
    assert all(status.bytes_buffered > 0 for status in standing)
    rest = seen[len(standing) :]
    assert {(status.iterator_age_in_seconds, status.bytes_buffered) for status in rest} == {(0.0, 0)}


def test_each_shard_shows_its_reader_its_position_and_the_lanes_that_have_records() -> None:
    world = Watched(parallelization_factor=2)
    world.poison = {"a/0"}
    last = streams(world.watch(seconds=60))[-1]
    first, second = last.shards
    assert (first.shard_id, second.shard_id) == (world.shard(0), world.shard(1)), "the blocked shard comes first"
    assert first.worker == second.worker
    assert [shard.read_since for shard in last.shards] == [pytest.approx(EPOCH, abs=1)] * 2
    assert (first.blocked_since, second.blocked_since) == (last.blocked[0].since, None)
    assert first.age_in_seconds == last.iterator_age_in_seconds == pytest.approx(60, abs=1)
    assert first.position == "TRIM_HORIZON"
    assert second.position == f"AFTER_SEQUENCE_NUMBER {world.numbers['b/4']}"
    assert (second.age_in_seconds, second.records, second.lanes) == (0.0, 0, ())
    [lane] = first.lanes
    batch = last.blocked[0]
    assert lane.records == first.records == batch.records
    assert (lane.reason, lane.attempt, lane.next_try) == ("ValueError", batch.attempt, batch.next_try)
    assert lane.is_invoking is False


def test_a_lane_has_the_records_of_its_batch_that_are_not_done_and_those_that_wait_for_the_next_batch() -> None:
    world = Watched(bisect_batch_on_function_error=True)
    world.poison = {"a/3"}
    seen: list[StreamStatus] = []

    async def until(life: Life) -> None:
        for number in range(4):
            world.put_in(LOWER, f"a/{number}")
        await anyio.sleep(30)
        world.put_in(LOWER, "a/4")
        world.put_in(LOWER, "a/5")
        await anyio.sleep(30)
        seen.extend(streams(list(life.supervisor.statuses())))
        life.begin_stop()

    play_life(world, until, shards=2)
    [status] = seen
    assert [lane.records for lane in status.shards[0].lanes] == [3]
    assert status.blocked[0].records == 1
    assert set(world.succeeded) == {"a/0", "a/1", "a/2"}


def look_after_putting(world: Watched, *names: str, every: float, then: float) -> StreamStatus:
    """Return the status `then` seconds after these records were put into the first shard, one by one."""
    statuses: list[MappingStatus] = []

    async def until(life: Life) -> None:
        for name in names:
            world.put_in(LOWER, name)
            await anyio.sleep(every)
        await anyio.sleep(then)
        statuses.append(life.supervisor.statuses()[0])
        life.begin_stop()

    play_life(world, until, shards=2)
    return streams(statuses)[0]


def test_the_age_of_a_batch_that_is_partly_done_is_that_of_its_rest() -> None:
    world = Watched(batch_size=2, maximum_batching_window_in_seconds=60, bisect_batch_on_function_error=True)
    world.poison = {"a/3"}
    names = [f"a/{number}" for number in range(6)]
    status = look_after_putting(world, *names, every=10, then=60)
    assert world.succeeded == ["a/0", "a/1", "a/2"]
    assert status.iterator_age_in_seconds == pytest.approx(90, abs=0.1)


def test_a_shard_is_as_old_and_as_long_blocked_as_the_worst_of_its_lanes() -> None:
    world = Watched(parallelization_factor=10)
    names = [f"a/{number}" for number in range(8)]
    world.poison = set(names)
    status = look_after_putting(world, *names, every=10, then=20)
    assert status.iterator_age_in_seconds == pytest.approx(100, abs=0.1)
    [blocked] = status.blocked
    assert blocked.since == pytest.approx(EPOCH, abs=2)
    assert len(world.facts_of(ShardBlocked)) > 1, "several lanes are blocked, and the shard is listed once"


def test_a_pause_does_not_move_the_time_since_which_a_shard_is_blocked() -> None:
    world = Watched()
    world.poison = {"a/0"}
    blocked: list[BlockedShard] = []

    async def until(life: Life) -> None:
        world.put_in(LOWER, "a/0")
        started_at = anyio.current_time()
        for _ in range(2):
            await anyio.sleep(5)
            [stream] = streams(list(life.supervisor.statuses()))
            blocked.extend(stream.blocked)
            await life.supervisor.pause(world.mapping.name)
            paused_at = EPOCH + anyio.current_time() - started_at
            await anyio.sleep(20)
            [paused] = life.supervisor.statuses()
            assert paused.state == "paused"
            assert paused.since == pytest.approx(paused_at, abs=0.1)
            assert streams([paused])[0].iterator_age_in_seconds is None, "nobody knows how far it is behind"
            await life.supervisor.resume(world.mapping.name)
        life.begin_stop()

    play_life(world, until)
    before, after = blocked
    assert after.since == before.since
    assert (after.attempt or 0) > (before.attempt or 0)


def test_every_retry_is_counted_and_a_discarded_batch_is_reported_once() -> None:
    world = Watched(maximum_retry_attempts=5)
    world.poison = {"a/0"}
    world.watch()
    retried = world.facts_of(BatchRetried)
    assert [(fact.shard, fact.attempt, fact.records, fact.reason) for fact in retried] == [
        (world.shard(0), attempt, 5, "ValueError") for attempt in range(1, 6)
    ]
    assert all(fact.retry_in_seconds > 0 for fact in retried)
    assert [(fact.records, fact.condition) for fact in world.facts_of(RecordsDropped)] == [
        (5, "RetryAttemptsExhausted")
    ]
    assert sum(fact.outcome == "failed" for fact in world.facts_of(BatchInvoked)) == 6


def test_a_bisection_is_reported_for_each_batch_that_is_split() -> None:
    world = Watched(maximum_retry_attempts=0, bisect_batch_on_function_error=True)
    world.records = 8
    world.poison = {"a/5"}
    world.watch()
    assert [(fact.shard, fact.records, fact.reason) for fact in world.facts_of(BatchBisected)] == [
        (world.shard(0), records, "ValueError") for records in (8, 4, 2)
    ]
    assert [fact.records for fact in world.facts_of(RecordsDropped)] == [1]
    assert not world.facts_of(BatchRetried)
    assert not world.facts_of(ShardBlocked)


def test_a_throttled_function_blocks_the_shards_and_does_not_count_as_a_retry() -> None:
    world = Watched()
    world.busy_until = 30.0
    seen = streams(world.watch())
    assert {status.shards_blocked for status in seen[:28]} == {2}
    assert {one.reason for status in seen[:28] for one in status.blocked} == {"TooManyRequestsException"}
    assert {status.shards_blocked for status in seen[60:]} == {0}
    assert sorted(fact.shard for fact in world.facts_of(ShardBlocked)) == [world.shard(0), world.shard(1)]
    assert sorted(fact.shard for fact in world.facts_of(ShardUnblocked)) == [world.shard(0), world.shard(1)]
    assert world.facts_of(BatchRetried) == []
    assert all(fact.is_throttled and fact.retry_in_seconds > 0 for fact in world.facts_of(InvocationPostponed))
    assert len(world.facts_of(InvocationPostponed)) > 4


def test_a_failing_destination_continues_the_same_block_for_another_reason() -> None:
    world = Watched(maximum_retry_attempts=2, on_failure=FAILURES)
    world.poison = {"a/0"}
    world.destination = FakeDestination(faults=FaultPlan(outages=[Outage(0.0, 60.0, Fault.ACCESS_DENIED)]))
    seen = streams(world.watch(seconds=200))
    shown = [one for status in seen for one in status.blocked]
    assert list(dict.fromkeys((one.reason, one.is_function_error) for one in shown)) == [
        ("ValueError", True),
        ("destination: AccessDenied", False),
    ]
    assert len({one.since for one in shown}) == 1
    assert (
        len(world.facts_of(ShardBlocked))
        == len(world.facts_of(ShardUnblocked))
        == len(world.facts_of(InvocationRecordDelivered))
        == 1
    )
    assert {fact.code for fact in world.facts_of(DestinationFailed)} == {"AccessDenied"}
    assert seen[-1].shards_blocked == 0


def test_children_wait_for_a_parent_that_is_blocked() -> None:
    world = Watched()
    world.poison = {"a/0"}
    states: list[tuple[int, int, int]] = []

    async def until(life: Life) -> None:
        world.put_in(LOWER, "a/0")
        await anyio.sleep(2)
        world.stream.split(world.shard(0), now=anyio.current_time())
        for _ in range(2):
            await anyio.sleep(60)
            [stream] = streams(list(life.supervisor.statuses()))
            states.append((stream.shards_reading, stream.shards_waiting, stream.shards_drained))
            world.poison.clear()
        life.begin_stop()

    play_life(world, until, shards=2)
    assert states == [(2, 2, 0), (3, 0, 1)]


def test_the_blocked_shards_are_named_in_the_order_in_which_they_became_blocked() -> None:
    world = Watched()
    world.busy_until = 1000.0

    async def until(life: Life) -> None:
        for index in range(12):
            world.put_in(index * 2**128 // 12, f"{index}/0")
            await anyio.sleep(2)
        [stream] = streams(list(life.supervisor.statuses()))
        assert stream.shards_blocked == 12
        assert [one.shard_id for one in stream.blocked] == [world.shard(n) for n in range(12)]
        life.begin_stop()

    play_life(world, until, shards=12)


def test_a_person_discards_the_batch_that_blocks_a_shard_and_no_other_batch() -> None:
    world = Watched(on_failure=FAILURES)
    world.poison = {"a/0", "b/0"}

    async def until(life: Life) -> None:
        for number in range(world.records):
            world.put_in(LOWER, f"a/{number}")
            world.put_in(UPPER, f"b/{number}")
        await anyio.sleep(20)
        [stream] = streams(list(life.supervisor.statuses()))
        first, second = sorted(stream.blocked)
        order = partial(life.supervisor.order, world.mapping.name)
        with pytest.raises(CannotChange, match="other records block the shard"):
            order(ShardOrder("discard", first.shard_id, *second.ends))
        with pytest.raises(CannotChange, match="this daemon does not read the shard elsewhere now"):
            order(ShardOrder("discard", ShardId("elsewhere"), *first.ends))
        assert order(ShardOrder("discard", first.shard_id, *first.ends)) == first
        await anyio.sleep(1)
        with pytest.raises(CannotChange, match=f"the shard {first.shard_id} is not blocked"):
            order(ShardOrder("discard", first.shard_id, *first.ends))
        [stream] = streams(list(life.supervisor.statuses()))
        assert [shard.shard_id for shard in stream.blocked] == [second.shard_id]
        life.begin_stop()

    play_life(world, until, shards=2)
    [report] = world.destination.reports
    assert (report.condition, report.shard_id) == ("DiscardedByRequest", world.shard(0))
    assert report.numbers == [world.numbers[f"a/{number}"] for number in range(5)]


def test_one_record_alone_cannot_be_bisected() -> None:
    world = Watched(batch_size=1)
    world.poison = {"a/0"}

    async def until(life: Life) -> None:
        world.put_in(LOWER, "a/0")
        await anyio.sleep(20)
        [stream] = streams(list(life.supervisor.statuses()))
        [shard] = stream.blocked
        with pytest.raises(CannotChange, match="the batch has one record, so it has no halves"):
            life.supervisor.order(world.mapping.name, ShardOrder("bisect", shard.shard_id, *shard.ends))
        life.begin_stop()

    play_life(world, until)


def test_without_records_in_hand_the_age_is_the_lag_that_the_source_reports() -> None:
    world = Watched(filters=('{"data": {"kind": ["click"]}}',))
    ages: list[float] = []

    async def main() -> None:
        for number in range(10_001):
            world.put_in(LOWER, f"a/{number}")
        await anyio.sleep(100)

        async def until(life: Life) -> None:
            for seconds in (0.1, 10):
                await anyio.sleep(seconds)
                ages.append(streams(list(life.supervisor.statuses()))[0].iterator_age_in_seconds or 0.0)
            life.begin_stop()

        await world.live(until)

    play(world, main, shards=2)
    assert ages == [pytest.approx(100, abs=0.2), 0.0]
