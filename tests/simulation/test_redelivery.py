"""When is a failed message received again? The real engine and SQS source run on a virtual clock."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from poller.errors import AccessDenied, Unreachable
from poller.facts import VisibilityChangeFailed
from poller.model.mapping import RedeliveryBackoff
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FunctionPlan
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.steps import Call, around_calls, live, sending, stopping_at
from tests.simulation.world import World, run_seeded

QUEUES = ("q", "q.fifo")


def changes(queue: FakeQueue) -> list[str]:
    """Return the visibility timeouts that were set after the receive, in order."""
    return [entry.detail for entry in queue.history if entry.kind == "visibility_changed"]


@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parametrize(
    ("plan", "reports"),
    [
        (FunctionPlan(failure_rate=1.0, duration_in_seconds=(1.0, 1.0)), False),
        (FunctionPlan(answer=b"[1]", duration_in_seconds=(1.0, 1.0)), True),
        (FunctionPlan(item_failure_rate=1.0, names_failures=True, duration_in_seconds=(1.0, 1.0)), True),
    ],
    ids=["failed", "invalid response", "named failures"],
)
@pytest.mark.parity("time of redelivery")
def test_a_failed_message_is_received_again_after_the_queues_own_timeout(
    name: str, plan: FunctionPlan, reports: bool
) -> None:
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=5)
    target = world.add_function("f", plan, timeout_in_seconds=60)
    world.add_mapping("m", queue, "f", report_batch_item_failures=reports)
    live(world, sending(world, queue, "x", stop_at=28))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 5, 10, 15, 20, 25], abs=0.1)


@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parity("time of redelivery")
def test_a_message_that_fails_after_the_queues_own_timeout_is_received_again_at_once(name: str) -> None:
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=5)
    target = world.add_function(
        "f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(50.0, 50.0)), timeout_in_seconds=60
    )
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=120))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 50, 100], abs=0.1)
    assert changes(queue)[-1] == "0"


BACKOFF = RedeliveryBackoff(initial_in_seconds=4, maximum_in_seconds=20)


@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parametrize("visibility_timeout", [1, 30, 300])
def test_a_redelivery_backoff_decides_when_a_failed_message_is_received_again(
    name: str, visibility_timeout: int
) -> None:
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=visibility_timeout)
    target = world.add_function("f", FunctionPlan(failure_rate=1.0), timeout_in_seconds=10)
    world.add_mapping("m", queue, "f", redelivery_backoff=BACKOFF)
    live(world, sending(world, queue, "x", stop_at=100))
    waits = [later.began_at - earlier.ended_at for earlier, later in pairwise(target.calls)]
    assert len(waits) >= 6
    for wait, full in zip(waits, [4, 8, 16, *[20] * len(waits)], strict=False):
        assert full / 2 <= wait <= full + 1.5, waits


def test_a_group_returns_after_the_delay_of_its_first_failed_message_and_in_order() -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=60)
    plan = FunctionPlan(names_failures=True, duration_in_seconds=(0.5, 0.5))
    target = world.add_function("f", plan, timeout_in_seconds=10)
    world.add_mapping("m", queue, "f", report_batch_item_failures=True, redelivery_backoff=BACKOFF)

    async def until(life: Life) -> None:
        ids = [world.sqs.send(queue, body, group="g", deduplication_id=body) for body in ("a", "b", "c")]
        plan.poison.add(ids[1])
        await anyio.sleep(30)
        life.begin_stop()
        assert target.calls[0].message_ids == ids
        assert [call.message_ids for call in target.calls[1:]] == [ids[1:]] * (len(target.calls) - 1)

    live(world, until)
    assert len(target.calls) >= 4
    checker.check_groups_are_shown_in_order(queue, target.calls)
    checker.check_failed_messages_come_again_by_backoff(
        queue, target.calls, BACKOFF, timeout_in_seconds=10, slack_in_seconds=1.5
    )


def test_the_timeout_of_each_message_of_a_window_counts_from_its_own_receive() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=60)
    plan = FunctionPlan(failure_rate=1.0, duration_in_seconds=(0.3, 0.3), ends_at=50.0)
    target = world.add_function("f", plan, timeout_in_seconds=30)
    world.add_mapping("m", queue, "f", batch_size=100, maximum_batching_window_in_seconds=40)

    async def until(life: Life) -> None:
        for at in (0.2, 0.9, 15.0, 30.0):
            await anyio.sleep_until(at)
            world.sqs.send(queue, str(at))
        await stopping_at(130)(life)

    live(world, until)
    assert len(target.calls[0].message_ids) == 4
    checker.check_failed_messages_come_again_in_time(queue, target.calls, timeout_in_seconds=30, slack_in_seconds=1.1)


def test_no_call_is_made_for_a_message_that_becomes_visible_at_the_right_time_by_itself() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(failure_rate=1.0, ends_at=50.0))
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=80))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 30, 60], abs=0.1)
    assert not changes(queue)


def test_a_message_that_was_hidden_again_becomes_visible_after_the_queues_own_timeout() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function(
        "f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(20.0, 20.0), ends_at=50.0), timeout_in_seconds=25
    )
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=80))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 30, 60], abs=0.1)


@pytest.mark.parametrize(("name", "timeout", "again_at"), [("q", 5, 5), ("q.fifo", 5, 61), ("q.fifo", 90, 90)])
def test_after_a_lost_answer_a_group_waits_for_the_whole_timeout_of_the_function(
    name: str, timeout: int, again_at: float
) -> None:
    """The answer is lost after a second, and the function may still run, so no second invocation may have the group.

    A standard queue has no groups, so its messages do not wait.
    """
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=timeout)
    target = world.add_function(
        "f", FunctionPlan(lost_answer_rate=1.0, duration_in_seconds=(1.0, 1.0), ends_at=4.0), timeout_in_seconds=60
    )
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=100))
    assert [call.began_at for call in target.calls] == pytest.approx([0, again_at], abs=0.1)
    assert not queue.message_ids


def test_without_permission_a_failed_message_is_received_again_after_the_timeout_of_its_receive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    target = world.add_function("f", FunctionPlan(failure_rate=1.0), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")

    async def denied(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            raise AccessDenied("not authorized", code="AccessDenied")
        return await call(request)

    around_calls(monkeypatch, denied)
    live(world, sending(world, queue, "x", stop_at=200))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 90, 180], abs=0.1)
    assert len(world.facts_of(VisibilityChangeFailed)) == 3, "it is not tried again and again"


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.UNREACHABLE, Fault.ANSWER_LOST])
def test_a_call_that_fails_is_tried_again(fault: Fault) -> None:
    faults = FaultPlan()
    faults.script("ChangeMessageVisibilityBatch", fault)
    world = World(faults=faults)
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    target = world.add_function("f", FunctionPlan(failure_rate=1.0, ends_at=1.0), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    live(world, sending(world, queue, "x", stop_at=20))
    assert [call.began_at for call in target.calls] == pytest.approx([0, 5.5], abs=0.6)


def test_an_entry_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    world.add_function("f", FunctionPlan(failure_rate=1.0, ends_at=1.0), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    failed: list[str] = []

    async def fails_one(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and not failed:
            entry = request["Entries"].pop()
            failed.append(entry["Id"])
            answer = await call(request)
            return answer | {"Failed": [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False}]}
        return await call(request)

    around_calls(monkeypatch, fails_one)
    live(world, sending(world, queue, "x", "y", stop_at=20))
    assert failed
    again = [entry.at for entry in queue.history if entry.kind == "received" and entry.receive_count == 2]
    assert again == pytest.approx([5.5, 5.5], abs=0.6)


def test_a_call_that_hides_a_message_never_follows_the_one_that_makes_it_visible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    target = world.add_function(
        "f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(58.0, 58.0), ends_at=50.0), timeout_in_seconds=60
    )
    world.add_mapping("m", queue, "f")

    async def slow_to_hide(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and request["Entries"][0]["VisibilityTimeout"] > 5:
            await anyio.sleep(8.0)
        return await call(request)

    around_calls(monkeypatch, slow_to_hide)
    live(world, sending(world, queue, "x", stop_at=110))
    hidden_at = next(entry.at for entry in queue.history if entry.kind == "visibility_changed")
    assert 58 < hidden_at < 66, "the call that hides is on its way when the function fails"
    assert target.calls[1].began_at < hidden_at + 7


@pytest.mark.parametrize(("is_deleted", "duration"), [(True, 70.0), (False, 95.0)])
def test_a_call_is_not_tried_again_when_its_message_may_be_visible(
    is_deleted: bool, duration: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another client may have the message at that time."""
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    target = world.add_function(
        "f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(duration, duration)), timeout_in_seconds=60
    )
    world.add_mapping("m", queue, "f")

    async def hides_nothing(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch" and anyio.current_time() < 91:
            raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
        return await call(request)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "x")
        await anyio.sleep_until(1)
        if is_deleted:
            queue.delete(target.calls[0].receipts[0], now=1.0)
        await stopping_at(96)(life)

    if not is_deleted:
        around_calls(monkeypatch, hides_nothing)
    live(world, until)
    refused = [entry.at for entry in queue.history if entry.kind == "visibility_refused"]
    assert [at for at in refused if at >= duration] == []
    assert bool(refused) == is_deleted


def test_a_group_becomes_visible_in_order_if_a_receive_became_several_batches() -> None:
    """The limit of 6 MB makes three batches.

    The first one fails, so the messages of its group leave the other batches.
    """
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=20)
    target = world.add_function(
        "f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(1.5, 1.5), ends_at=1.0), timeout_in_seconds=60
    )
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        for number in range(9):
            group = "b" if number == 4 else "a"
            body = f"{number}" + "x" * 2_000_000
            world.sqs.send(queue, body, group=group, deduplication_id=str(number))
        await stopping_at(60)(life)

    live(world, until)
    checker.check_order(queue, target.calls, lambda _: True)
    checker.check_groups_are_shown_in_order(queue)
    again = {entry.at for entry in queue.history if entry.kind == "received" and entry.receive_count == 2}
    assert again == {20.5}, "what was not invoked waits with the message that failed, for whole seconds"
    assert not queue.message_ids


@pytest.mark.parametrize("name", QUEUES)
def test_a_stop_that_cancels_a_call_repeats_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=5)
    world.add_function("f", FunctionPlan(failure_rate=1.0, duration_in_seconds=(10.0, 10.0)), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    calls: list[str] = []

    async def hangs(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ChangeMessageVisibilityBatch":
            calls.append(operation)
            if len(calls) == 1:
                await anyio.sleep_forever()
        return await call(request)

    around_calls(monkeypatch, hangs)

    async def until(life: Life) -> None:
        world.sqs.send(queue, "x", group="g", deduplication_id="x")
        await anyio.sleep_until(12)
        life.stop.hurry()

    live(world, until)
    assert not checker.in_flight(queue)


def test_a_group_whose_invocation_a_stop_cancels_becomes_visible_after_the_timeout_of_its_function() -> None:
    world = World(grace_in_seconds=0)
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=300)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=100)
    world.add_mapping("m", queue, "f")

    async def main() -> None:
        await world.live(sending(world, queue, "slow", stop_at=5))
        await world.live(stopping_at(200))

    run_seeded(1, main)
    assert [call.began_at for call in target.calls] == pytest.approx([0, 105], abs=0.1), "counted from the cut"


def test_a_message_is_hidden_for_the_timeout_of_its_receive_even_if_the_queue_has_changed_since() -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=500.0))
    world.add_mapping("m", queue, "f")

    async def until(life: Life) -> None:
        await anyio.sleep_until(290)
        queue.visibility_timeout_in_seconds = 600
        await anyio.sleep_until(305)  # the queue was looked up at 300 s, and a long poll had begun before
        world.sqs.send(queue, "x")
        await stopping_at(600)(life)

    live(world, until)
    assert not [entry for entry in queue.history if entry.kind == "expired"]
    assert len(target.calls) == 1
