"""What happens if a function runs for hours? SQS hides a message for at most twelve hours after its receive."""

from __future__ import annotations

import anyio
import pytest

from poller.facts import VisibilityChangeFailed
from tests.fakes.faults import FaultPlan
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FunctionPlan, ids_of
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.one_stream import KinesisWorld, play
from tests.simulation.steps import crashing_after, live, sending, stopping_after, stopping_at
from tests.simulation.world import World, run_seeded

HOUR = 3600.0
TIMEOUT = 42_000.0
QUEUES = ("q", "q.fifo")


def changes(queue: FakeQueue) -> int:
    return len([entry for entry in queue.history if entry.kind == "visibility_changed"])


def held_too_long(world: World) -> int:
    return sum(fact.records for fact in world.facts_of(VisibilityChangeFailed) if fact.code == "HeldForTwelveHours")


@pytest.mark.parametrize("name", QUEUES)
def test_a_function_may_run_for_eleven_hours(name: str) -> None:
    world = World()
    queue = world.add_queue(name)
    plan = FunctionPlan(duration_in_seconds=(11 * HOUR, 11 * HOUR))
    target = world.add_function("f", plan, timeout_in_seconds=TIMEOUT)
    world.add_mapping("m", queue, "f", batch_size=1)
    live(world, sending(world, queue, "1", "2", "3", stop_at=34 * HOUR))
    assert not queue.message_ids
    assert len(target.calls) == 3
    assert {entry.receive_count for entry in queue.history if entry.kind == "deleted"} == {1}
    assert changes(queue) < 3 * 70, "a call in ten minutes for each message"
    assert not held_too_long(world)
    if queue.is_fifo:
        checker.check_order(queue, target.calls, lambda _: True)
        checker.check_one_batch_at_a_time(target.calls)


@pytest.mark.parametrize(("name", "again_at"), [("q", 2 * HOUR + 1_230), ("q.fifo", 2 * HOUR + TIMEOUT)])
def test_after_a_kill_only_groups_stay_hidden_as_long_as_their_function_may_run(name: str, again_at: float) -> None:
    world = World()
    queue = world.add_queue(name)
    plan = FunctionPlan(duration_in_seconds=(11 * HOUR, 11 * HOUR))
    target = world.add_function("f", plan, timeout_in_seconds=TIMEOUT)
    world.add_mapping("m", queue, "f", batch_size=1)

    async def kill(life: Life) -> None:
        world.sqs.send(queue, "x", group="g", deduplication_id="x")
        await anyio.sleep_until(2 * HOUR)
        life.crash()

    async def main() -> None:
        await world.live(kill)
        await world.live(stopping_at(40 * HOUR))

    run_seeded(1, main)
    assert not queue.message_ids
    _, again = target.calls
    assert again.began_at <= again_at + 60
    if queue.is_fifo:
        checker.check_one_batch_at_a_time(target.calls)


@pytest.mark.parity("long functions")
def test_a_message_becomes_visible_after_twelve_hours_and_the_log_says_so() -> None:
    world = World()
    queue = world.add_queue("q")
    plan = FunctionPlan(duration_in_seconds=(13 * HOUR, 13 * HOUR))
    target = world.add_function("f", plan, timeout_in_seconds=TIMEOUT)
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        world.sqs.send(queue, "x")
        await anyio.sleep_until(11.9 * HOUR)
        assert len(target.calls) == 1
        plan.duration_in_seconds = (60.0, 60.0)
        await stopping_at(14 * HOUR)(life)

    live(world, until)
    first, second = target.calls
    assert second.began_at - first.began_at == pytest.approx(12 * HOUR, abs=60)
    assert held_too_long(world) == 1
    assert not queue.message_ids
    checker.check_nothing_is_lost(queue, target.calls, lambda _: True)


def test_a_group_with_too_little_time_left_for_a_whole_run_becomes_visible_at_once() -> None:
    """The function may run for 11 h 40 min; after an hour of throttles, the twelve hours would end before that."""
    world = World()
    queue = world.add_queue("q.fifo")
    plan = FunctionPlan(throttle_rate=1.0, duration_in_seconds=(11 * HOUR, 11 * HOUR), ends_at=HOUR)
    target = world.add_function("f", plan, timeout_in_seconds=TIMEOUT)
    world.add_mapping("m", queue, "f")

    async def kill(life: Life) -> None:
        for body in "123":
            world.sqs.send(queue, body, group="g", deduplication_id=body)
        await anyio.sleep_until(2 * HOUR)
        life.crash()

    async def main() -> None:
        await world.live(kill)
        await world.live(stopping_at(40 * HOUR))

    run_seeded(1, main)
    assert not queue.message_ids
    assert target.calls[0].began_at == pytest.approx(HOUR, abs=60)
    assert held_too_long(world) > 0
    checker.check_order(queue, target.calls, lambda _: True)
    checker.check_one_batch_at_a_time(target.calls)
    checker.check_groups_are_shown_in_order(queue)


def test_a_message_that_cannot_be_hidden_for_longer_causes_no_further_calls() -> None:
    world = World(faults=FaultPlan(latency_in_seconds=(0.1, 0.2)))
    queue = world.add_queue("q", visibility_timeout_in_seconds=36_000)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=42_000.0))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "hello", at=50.0, stop_at=43_100))
    assert len(target.calls) == 1
    assert changes(queue) == 1


@pytest.mark.parametrize("name", QUEUES)
def test_a_message_that_fails_after_hours_is_received_again_at_once(name: str) -> None:
    world = World()
    queue = world.add_queue(name)
    plan = FunctionPlan(failure_rate=1.0, duration_in_seconds=(11 * HOUR, 11 * HOUR), ends_at=1.0)
    target = world.add_function("f", plan, timeout_in_seconds=TIMEOUT)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=23 * HOUR))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 11 * HOUR], abs=1)
    assert len(ids_of(target.calls)) == 2
    assert not queue.message_ids


def test_a_shard_keeps_its_order_and_its_position_over_hours() -> None:
    world = KinesisWorld(batch_size=10)
    world.duration = HOUR
    world.lease_duration = HOUR / 6
    records = [str(number) for number in range(20)]

    async def main() -> None:
        world.put("key", *records)
        await world.live(crashing_after(1.5 * HOUR))
        assert world.succeeded == records[:10]
        await world.live(stopping_after(1.5 * HOUR))

    play(world, main)
    assert world.calls == [records[:10], records[10:], records[10:]]
    assert world.succeeded == records
