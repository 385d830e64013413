"""What does a Kinesis mapping do? The real engine and source run on a virtual clock, over a fake of Kinesis.

A name in brackets, such as [S14], is the name of a case that was recorded on AWS.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import anyio
import orjson
import pytest

from poller.facts import RecordsRead
from poller.model.invocation import Invocation, Response
from poller.model.stream import Latest
from tests.fakes.faults import FaultPlan
from tests.simulation.life import Life
from tests.simulation.one_stream import FAILURES, KinesisWorld, play, play_life
from tests.simulation.steps import crashing_after, stopping_after


def names(key: str, count: int) -> list[str]:
    return [f"{key}/{number}" for number in range(count)]


def by_key(invoked: Sequence[str]) -> dict[str, list[int]]:
    order: defaultdict[str, list[int]] = defaultdict(list)
    for name in invoked:
        key, _, number = name.partition("/")
        order[key].append(int(number))
    return order


def assert_in_order(invoked: Sequence[str]) -> None:
    """Assert that the first deliveries of the records of each key are in order and without a gap."""
    for key, numbers in by_key(invoked).items():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts), f"{key}: {firsts}"
        assert firsts == list(range(len(firsts))), f"{key} has gaps: {firsts}"


def test_every_record_is_delivered_once_and_in_order() -> None:
    world = KinesisWorld()

    async def main() -> None:
        for key in "abcdef":
            world.put(key, *names(key, 50))
        await world.live(stopping_after(10))

    play(world, main, shards=3)
    assert len(world.succeeded) == 300
    assert_in_order(world.succeeded)


@pytest.mark.parametrize("factor", [1, 4])
@pytest.mark.parity("CreateEventSourceMapping.ParallelizationFactor")
def test_a_split_and_a_merge_keep_the_order(factor: int) -> None:
    world = KinesisWorld(parallelization_factor=factor, batch_size=7)
    keys = [f"k{number}" for number in range(20)]
    sent: defaultdict[str, int] = defaultdict(int)

    def put_some() -> None:
        for key in keys:
            for _ in range(3):
                world.put(key, f"{key}/{sent[key]}")
                sent[key] += 1

    async def until(life: Life) -> None:
        put_some()
        await anyio.sleep(3)
        now = anyio.current_time()
        children = world.stream.split(world.stream.shards(now=now)[0].shard_id, now=now)
        put_some()
        await anyio.sleep(0.5)
        world.stream.merge(*children, now=anyio.current_time())
        put_some()
        await anyio.sleep(120)
        life.begin_stop()

    play_life(world, until, shards=2)
    assert len(world.succeeded) == 180
    assert_in_order(world.succeeded)


class TimedWorld(KinesisWorld):
    """A world that records when invocations with records of each shard began and ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    async def invoke(self, invocation: Invocation) -> Response:
        [shard_id] = {record["eventID"].partition(":")[0] for record in orjson.loads(invocation.payload)["Records"]}
        began = anyio.current_time()
        response = await super().invoke(invocation)
        self.spans[shard_id].append((began, anyio.current_time()))
        return response


def test_both_children_of_a_split_are_read_at_the_same_time_and_a_merged_shard_after_both() -> None:
    """[S14]"""
    world = TimedWorld(batch_size=2)
    world.duration = 1.0
    keys = [f"k{number}" for number in range(20)]

    def put_some() -> None:
        for key in keys:
            world.put(key, key)

    async def main() -> None:
        put_some()
        [parent] = [shard.shard_id for shard in world.stream.shards(now=0.0)]
        children = world.stream.split(parent, now=0.0)
        put_some()
        merged = world.stream.merge(*children, now=0.0)
        put_some()
        await world.live(stopping_after(60))
        spans = world.spans
        assert spans.keys() == {parent, *children, merged}
        one, other = children
        assert spans[parent][-1][1] <= min(spans[one][0][0], spans[other][0][0]), "the children wait for their parent"
        assert spans[one][0][0] < spans[other][0][1], "and do not wait for each other"
        assert spans[other][0][0] < spans[one][0][1]
        assert max(spans[one][-1][1], spans[other][-1][1]) <= spans[merged][0][0], "whose child waits for both"

    play(world, main)
    assert len(world.succeeded) == 60


def test_after_a_crash_only_records_that_were_not_stored_are_repeated() -> None:
    world = KinesisWorld(batch_size=10)

    async def main() -> None:
        for key in "abc":
            world.put(key, *names(key, 600))
        world.duration = 0.1
        for seconds in (3.0, 3.3, 2.7):
            await world.live(crashing_after(seconds))
        await world.live(stopping_after(60))

    play(world, main, shards=2)
    assert set(world.succeeded) == {name for key in "abc" for name in names(key, 600)}
    last_second = (10 + 1) * 10  # of each shard, ten batches of the last second and one that runs
    assert len(world.succeeded) <= 1800 + 3 * 2 * last_second, "at each crash, the last second comes again"
    assert_in_order(world.succeeded)


def test_after_a_clean_stop_no_record_is_repeated() -> None:
    world = KinesisWorld(batch_size=10)

    async def main() -> None:
        world.put("a", *names("a", 200))
        world.duration = 0.2
        for _ in range(5):
            await world.live(stopping_after(1.0))
        await world.live(stopping_after(60))

    play(world, main)
    assert world.succeeded == names("a", 200)


def test_a_poison_record_blocks_its_shard_only_until_it_is_reported() -> None:
    world = KinesisWorld(maximum_retry_attempts=2, bisect_batch_on_function_error=True, on_failure=FAILURES)
    world.poison = {"a/7"}

    async def main() -> None:
        world.put("a", *names("a", 20))
        world.put("b", *names("b", 20))
        await world.live(stopping_after(60))

    play(world, main)
    assert sorted(world.succeeded) == sorted({*names("a", 20), *names("b", 20)} - {"a/7"})
    assert [report.condition for report in world.destination.reports] == ["RetryAttemptsExhausted"]


def test_a_blocked_shard_is_reported_and_others_go_on() -> None:
    world = KinesisWorld()
    world.poison = {"a/0"}
    reasons: list[str] = []

    async def until(life: Life) -> None:
        for key in "abcdefgh":
            world.put(key, *names(key, 5))
        await anyio.sleep(30)
        stream = life.supervisor.statuses()[0].stream
        assert stream is not None
        reasons.extend(shard.reason for shard in stream.blocked)
        life.begin_stop()

    play_life(world, until, shards=8)
    assert reasons == ["ValueError"]
    assert "a/0" not in world.succeeded
    assert len(world.succeeded) >= 5


def test_filtered_records_move_the_checkpoint() -> None:
    world = KinesisWorld(filters=('{"data": {"kind": ["click"]}}',))

    async def main() -> None:
        world.put("a", *['{"kind": "view"}'] * 30)
        await world.live(crashing_after(5))
        before = len(world.facts)
        await world.live(stopping_after(5))
        assert sum(fact.records for fact in world.facts[before:] if isinstance(fact, RecordsRead)) == 0

    play(world, main)
    assert not world.calls


@pytest.mark.parity("CreateEventSourceMapping.StartingPosition")
def test_latest_delivers_records_written_after_the_mapping_is_ready_even_over_a_restart() -> None:
    world = KinesisWorld(starting_position=Latest())

    async def main() -> None:
        world.put("a", "a/old")
        await anyio.sleep(5)
        await world.live(crashing_after(2))
        world.put("a", "a/new")
        await world.live(stopping_after(5))

    play(world, main)
    assert world.succeeded == ["a/new"]


@pytest.mark.parametrize("ahead", [-3600.0, 60.0, 3600.0])
def test_latest_loses_nothing_over_a_restart_when_our_clock_is_wrong(ahead: float) -> None:
    world = KinesisWorld(starting_position=Latest(), batch_size=1)
    world.clock.ahead = ahead
    world.poison = {"a/0"}

    async def main() -> None:
        async def until(life: Life) -> None:
            await anyio.sleep(3)
            world.put("a", "a/0", "a/1")
            await anyio.sleep(3)
            life.crash()

        await world.live(until)
        world.poison.clear()
        await world.live(stopping_after(10))

    play(world, main)
    assert world.succeeded == ["a/0", "a/1"]


def test_latest_is_a_time_that_the_source_has_reached_even_if_our_clock_is_ahead() -> None:
    """The daemon's clock is ahead by so little that the answers of the source do not contradict it."""
    world = KinesisWorld(starting_position=Latest(), batch_size=1)
    world.clock.ahead = 1.5
    world.poison = {"a/0"}

    async def main() -> None:
        async def until(life: Life) -> None:
            await anyio.sleep(0.5)
            world.put("a", "a/0")
            await anyio.sleep(3)
            life.crash()

        await world.live(until)
        world.poison.clear()
        await world.live(stopping_after(10))

    play(world, main)
    assert world.succeeded == ["a/0"]


def test_throttles_and_lost_answers_cost_only_time() -> None:
    faults = FaultPlan(
        seed=3, throttle_rate=0.2, unreachable_rate=0.2, lost_answer_rate=0.2, latency_in_seconds=(0, 0.2), ends_at=200
    )
    world = KinesisWorld(faults=faults)

    async def main() -> None:
        for key in "abcdef":
            world.put(key, *names(key, 50))
        await world.live(stopping_after(400))

    play(world, main, shards=3)
    assert len(world.succeeded) == 300
    assert_in_order(world.succeeded)


def test_an_idle_shard_is_read_once_a_second() -> None:
    world = KinesisWorld()

    play_life(world, stopping_after(60))
    assert 55 <= sum(isinstance(fact, RecordsRead) for fact in world.facts) <= 62
