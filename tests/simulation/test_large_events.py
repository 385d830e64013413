"""What happens to a batch whose event is larger than the function's service accepts?

The batch is split in two halves, which uses no attempt. Later batches stay within the lowered limit.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from poller.core.event_limit import FORGOTTEN_AFTER_IN_SECONDS
from poller.facts import BatchInvoked, EventTooLarge, ShardBlocked
from poller.model.invocation import Answered, Invocation, Response, TooLarge
from tests.fakes.target import FunctionPlan, ids_of
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.one_stream import FAILURES, play_life
from tests.simulation.steps import live, sending, stopping_after, stopping_at
from tests.simulation.windows import WindowWorld
from tests.simulation.world import World, run_seeded

HUNDRED_KB = "x" * 100_000
QUARTER_OF_A_SECOND = (0.25, 0.25)


def bodies(count: int) -> list[str]:
    return [f"{HUNDRED_KB}{number:09}" for number in range(count)]


def test_a_batch_that_is_too_large_is_invoked_as_two_halves_and_received_once() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f", FunctionPlan(largest_event=250_000))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(5), stop_at=10))
    assert target.too_large == [5, 3], "the halves are two and three, and the three are one and two"
    assert [len(call.message_ids) for call in target.calls] == [2, 1, 2]
    assert {entry.receive_count for entry in queue.history if entry.kind == "deleted"} == {1}
    assert not queue.message_ids
    facts = [(fact.records, fact.reason) for fact in world.facts_of(EventTooLarge)]
    assert facts == [(5, "HTTP.413"), (3, "HTTP.413")]


def test_later_batches_keep_to_a_learnt_limit_until_it_is_forgotten() -> None:
    world = World()
    queue = world.add_queue("q")
    target = world.add_function("f", FunctionPlan(largest_event=450_000, duration_in_seconds=QUARTER_OF_A_SECOND))
    world.add_mapping("m", queue, "f", maximum_concurrency=1)
    refused: list[int] = []

    async def until(life: Life) -> None:
        for at in (0.0, 60.0, FORGOTTEN_AFTER_IN_SECONDS + 60.0):
            await anyio.sleep_until(at)
            for body in bodies(10):
                world.sqs.send(queue, body)
            await anyio.sleep(30.0)
            refused.append(len(target.too_large))
        life.begin_stop()

    live(world, until)
    first, second, third = refused
    assert first == second > 0, "the second time, no event was too large"
    assert third > second, "a limit is forgotten, and learnt anew"
    assert len(ids_of(target.calls)) == 30
    assert not queue.message_ids


def test_a_mapping_uses_a_limit_that_another_mapping_learnt_during_its_poll() -> None:
    world = World()
    busy, idle = world.add_queue("busy"), world.add_queue("idle")
    target = world.add_function("f", FunctionPlan(largest_event=250_000))
    world.add_mapping("busy", busy, "f")
    world.add_mapping("idle", idle, "f")

    async def until(life: Life) -> None:
        for queue in (busy, idle):
            for body in bodies(5):
                world.sqs.send(queue, body)
            await anyio.sleep(5)
        life.begin_stop()

    live(world, until)
    assert target.too_large == [5, 3], "by the first mapping's batch only"
    assert len(ids_of(target.calls)) == 10


def test_the_halves_of_a_message_group_stay_in_order_without_another_batch_between_them() -> None:
    world = World()
    queue = world.add_queue("q.fifo")
    target = world.add_function("f", FunctionPlan(largest_event=250_000, duration_in_seconds=QUARTER_OF_A_SECOND))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(25), stop_at=60))
    assert target.too_large, "the limit had to be learnt"
    sent = [entry.message_id for entry in queue.history if entry.kind == "sent"]
    assert ids_of(target.calls) == sent
    checker.check_one_batch_at_a_time(target.calls)
    assert target.most_running == 1


def test_a_half_that_fails_holds_back_its_message_group_in_the_second_half() -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    plan = FunctionPlan(largest_event=250_000, names_failures=True, duration_in_seconds=QUARTER_OF_A_SECOND)
    target = world.add_function("f", plan)
    world.add_mapping("m", queue, "f", report_batch_item_failures=True)

    async def until(life: Life) -> None:
        first, *rest = [world.sqs.send(queue, body, group="a", deduplication_id=body[-9:]) for body in bodies(4)]
        other = world.sqs.send(queue, HUNDRED_KB, group="b", deduplication_id="other")
        plan.poison.add(first)
        await anyio.sleep(20)
        assert target.too_large[0] == 5, "one batch had them all"
        assert not set(rest[1:]) & set(ids_of(target.calls)), "they wait for the message before them in their group"
        assert other in ids_of(target.calls), "the other group does not wait"
        plan.poison.clear()
        await anyio.sleep(100)
        life.begin_stop()

    live(world, until)
    checker.check_order(queue, target.calls, lambda _: True)
    assert not queue.message_ids


def test_a_stop_between_the_halves_releases_the_second_one() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(largest_event=250_000, duration_in_seconds=(5.0, 5.0)))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(4), stop_at=2))
    assert len(target.calls) == 1
    assert len(queue.message_ids) == 2
    checker.check_given_back(queue, target.calls, 10.0)


def test_a_cancelled_batch_shows_a_group_of_the_second_half_no_earlier_than_that_of_the_first() -> None:
    world = World(seed=1, grace_in_seconds=0)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=300)
    plan = FunctionPlan(largest_event=250_000, duration_in_seconds=(60.0, 60.0))
    world.add_function("f", plan, timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        for body, group in zip(bodies(4), "aaab", strict=True):
            world.sqs.send(queue, body, group=group, deduplication_id=body[-9:])
        await stopping_at(5)(life)

    async def main() -> None:
        await world.live(until)
        queue.settle(99.0)
        shown = [entry.group for entry in queue.history if entry.kind == "visibility_changed" and entry.detail == "0"]
        assert shown == ["b"], "the function may still be at work on the other group"
        await world.live(stopping_at(400))

    run_seeded(1, main)
    assert not queue.message_ids
    checker.check_groups_are_shown_in_order(queue)


def test_the_second_half_stays_hidden_while_the_first_one_runs() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=12)
    target = world.add_function("f", FunctionPlan(largest_event=250_000, duration_in_seconds=(10.0, 10.0)))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, *bodies(4), stop_at=60))
    assert [len(call.message_ids) for call in target.calls] == [2, 2]
    assert not queue.message_ids


@pytest.mark.parity("event too large")
def test_a_single_message_that_is_too_large_fails_and_is_received_again_after_its_visibility_timeout() -> None:
    world = World()
    dead = world.add_queue("dead")
    queue = world.add_queue("q", visibility_timeout_in_seconds=5, dead_letter_queue=dead, maximum_receive_count=2)
    target = world.add_function("f", FunctionPlan(largest_event=250_000), timeout_in_seconds=3)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x" * 300_000, *bodies(1), stop_at=60))
    assert dead.message_ids
    assert not queue.message_ids
    assert [len(call.message_ids) for call in target.calls] == [1]
    failures = [fact.reason for fact in world.facts_of(BatchInvoked) if fact.outcome == "failed"]
    assert failures == ["HTTP.413", "HTTP.413"]


def test_a_function_that_rejects_every_event_does_not_shrink_the_batches_of_another() -> None:
    world = World()
    small, whole = world.add_queue("small"), world.add_queue("whole")
    narrow = world.add_function("narrow", FunctionPlan(largest_event=250_000))
    wide = world.add_function("wide")
    world.add_mapping("a", small, "narrow")
    world.add_mapping("b", whole, "wide")

    async def until(life: Life) -> None:
        for body in bodies(4):
            world.sqs.send(small, body)
        await anyio.sleep(5)
        for body in bodies(8):
            world.sqs.send(whole, body)
        await stopping_at(20)(life)

    live(world, until)
    assert narrow.too_large
    assert max(len(call.message_ids) for call in wide.calls) > 2


class LimitedWorld(WindowWorld):
    """A world whose function accepts events of a limited size. `sizes` has the sizes of the accepted events."""

    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__(**options)
        self.limit = limit
        self.sizes: list[int] = []
        self.refused: list[int] = []

    async def invoke(self, invocation: Invocation) -> Response:
        if len(invocation.payload) > self.limit:
            self.refused.append(len(invocation.payload))
            return TooLarge(error_type="HTTP.413", message="413 Content Too Large")
        self.sizes.append(len(invocation.payload))
        return await super().invoke(invocation)


def test_batches_of_a_window_are_split_in_order_and_each_record_counts_once_in_its_state() -> None:
    """Records have 1 KB, the state grows with each record, and the function accepts 8 KB."""
    world = LimitedWorld(8_000, length=60, maximum_retry_attempts=0, on_failure=FAILURES)

    async def until(life: Life) -> None:
        for _ in range(3):
            for _ in range(20):
                world.put_one("a", "x" * 600)
            await anyio.sleep(5)
        await anyio.sleep(200)
        life.begin_stop()

    play_life(world, until)
    assert world.refused, "the limit had to be learnt"
    assert world.seen_in() == world.put_into()
    numbers = [number for call in world.windows for number in call.numbers]
    assert numbers == sorted(numbers, key=int), "in order"
    assert len(numbers) == len(set(numbers)) == 60
    assert not world.destination.taken, "no attempt was spent"
    assert not world.facts_of(ShardBlocked)
    assert len(world.refused) < 20, "most batches were packed by what was learnt"


@pytest.mark.parametrize(("state_bytes", "records_that_fit"), [(10_000, 5), (17_000, 1)])
def test_batches_of_a_window_keep_to_the_learnt_limit_together_with_the_state(
    state_bytes: int, records_that_fit: int
) -> None:
    """A record has 1.6 KB in its event, and the function accepts 20 KB."""
    world = LimitedWorld(20_000, length=3600)
    world.answer = lambda call: Answered(b'{"state":"%b"}' % (b"x" * state_bytes)) if call.numbers else None
    refused: list[int] = []

    async def until(life: Life) -> None:
        for records in (1, 10, 10):
            for _ in range(records):
                world.put_one("a", "x" * 1_000)
            await anyio.sleep(10)
            refused.append(len(world.refused))
        life.begin_stop()

    play_life(world, until)
    assert refused[0] < refused[1] == refused[2], "the last records were sent once each"
    taken = [len(call.numbers) for call in world.windows]
    assert sum(taken) == 21
    assert max(taken[-10 // records_that_fit :]) == records_that_fit


def test_shards_share_the_learnt_limit_of_an_event() -> None:
    world = LimitedWorld(20_000)
    refused: list[int] = []

    async def until(life: Life) -> None:
        for key in ("a", "b", "c", "d"):
            for _ in range(30):
                world.put_one(key, "x" * 1_000)
            await anyio.sleep(10)
            refused.append(len(world.refused))
        life.begin_stop()

    play_life(world, until, shards=4)
    assert len(set(refused)) == 1, "only events with the first records were too large"
    assert refused[0] > 0
    assert sum(len(call.numbers) for call in world.windows) == 120


@pytest.mark.parametrize("retries", [0, 2])
def test_a_single_record_that_is_too_large_uses_its_attempts_and_the_others_go_on(retries: int) -> None:
    """The function did not get any part of the record, so the invocation record has no response."""
    world = LimitedWorld(8_000, maximum_retry_attempts=retries, on_failure=FAILURES)

    async def until(life: Life) -> None:
        world.put_one()
        world.put_one("a", "x" * 8_000)
        world.put_one()
        await stopping_after(60)(life)

    play_life(world, until)
    (report,) = world.destination.reports
    assert (report.condition, report.invoke_count) == (
        "RetryAttemptsExhausted",
        retries + 1,
    )
    assert report.response_context is None
    assert sum(len(call.numbers) for call in world.windows) == 2
