"""What happens to messages that lack a value that SQS always sends?

The function does not get them, other messages are delivered, and the mapping reports a trouble.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from poller.facts import MappingCrashed, SourceFailed, SourceRecovered
from tests.fakes.target import FunctionPlan, ids_of
from tests.simulation import checker
from tests.simulation.life import Life
from tests.simulation.steps import Call, around_calls, live, sending, stopping_at
from tests.simulation.world import World

QUEUES = ("q", "q.fifo")
Edit = Callable[[dict[str, Any]], object]


def damaging(monkeypatch: pytest.MonkeyPatch, edit: Edit) -> list[str]:
    """Let `edit` change each message with the body "bad" in the answers of SQS.

    Return a list, to which the receipt handles of later calls are added.
    """
    receipts: list[str] = []

    async def damages(call: Call, operation: str, request: dict[str, Any]) -> Any:
        receipts.extend(entry["ReceiptHandle"] for entry in request.get("Entries", ()))
        answer = await call(request)
        for message in answer.get("Messages", ()) if operation == "ReceiveMessage" else ():
            if message["Body"] == "bad":
                edit(message)
        return answer

    around_calls(monkeypatch, damages)
    return receipts


def without(*path: str) -> Edit:
    def edit(message: dict[str, Any]) -> None:
        for name in path[:-1]:
            message = message[name]
        del message[path[-1]]

    return edit


NO_RECEIPT = without("ReceiptHandle")


@pytest.mark.parametrize("name", QUEUES)
@pytest.mark.parametrize("known", ["AttributeNames", "MessageSystemAttributeNames"])
def test_messages_of_a_server_that_knows_only_one_name_of_the_attributes_are_delivered(
    name: str, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    queue = world.add_queue(name)
    world.add_function("f")
    world.add_mapping("m", queue, "f")

    async def knows_one(call: Call, operation: str, request: dict[str, Any]) -> Any:
        if operation == "ReceiveMessage":
            for other in {"AttributeNames", "MessageSystemAttributeNames"} - {known}:
                request.pop(other, None)
        return await call(request)

    around_calls(monkeypatch, knows_one)
    live(world, sending(world, queue, "hello", stop_at=5))
    assert not queue.message_ids
    assert not world.facts_of(SourceFailed)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("q", without("Attributes")),
        ("q", without("Attributes", "SentTimestamp")),
        ("q", lambda message: message["Attributes"].update(SentTimestamp="9" * 400)),
        ("q.fifo", without("Attributes", "SentTimestamp")),
    ],
)
def test_a_message_without_an_optional_attribute_is_delivered(
    name: str, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    queue = world.add_queue(name)
    world.add_function("f")
    world.add_mapping("m", queue, "f")
    damaging(monkeypatch, edit)
    live(world, sending(world, queue, "bad", stop_at=5))
    assert not queue.message_ids
    assert not world.facts_of(MappingCrashed)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("q", without("Body")),
        ("q", without("MessageId")),
        ("q", NO_RECEIPT),
        ("q", lambda message: message.update(Body=5)),
        ("q", lambda message: message.update(MessageAttributes={"a": {}})),
        ("q.fifo", without("Attributes")),
        ("q.fifo", without("Attributes", "MessageGroupId")),
        ("q.fifo", lambda message: message["Attributes"].update(MessageGroupId=["g"])),
    ],
)
def test_a_defective_message_does_not_harm_others_and_returns_after_the_queues_own_timeout(
    name: str, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    queue = world.add_queue(name, visibility_timeout_in_seconds=5)
    target = world.add_function("f", FunctionPlan(duration_in_seconds=(0.1, 0.1)), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    receipts = damaging(monkeypatch, edit)
    states: list[str] = []

    async def until(life: Life) -> None:
        for body in ("good", "bad", "better"):
            world.sqs.send(queue, body, group=body, deduplication_id=body)
        for _ in range(28):
            await anyio.sleep(1)
            (status,) = life.supervisor.statuses()
            states.append(status.state)
        assert "messages cannot be delivered and are received again: " in (status.reason or "")
        life.begin_stop()

    live(world, until)
    assert len(ids_of(target.calls)) == 2
    assert all(call.began_at < 1 for call in target.calls)
    assert set(states) == {"troubled"}, "a receive that brings nothing is no recovery"
    assert not world.facts_of(SourceRecovered)
    (left,) = queue.message_ids
    received = [entry.at for entry in queue.history if entry.message_id == left and entry.kind == "received"]
    can_be_shown = edit is not NO_RECEIPT
    assert all(receipts), "an empty receipt might make the queue refuse the call for all"
    assert received == (pytest.approx([0, 5, 10, 15, 20, 25], abs=1.3) if can_be_shown else [0])


def test_a_defective_message_returns_in_time_if_another_message_of_its_receive_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=5)
    plan = FunctionPlan(failure_rate=1.0, duration_in_seconds=(0.1, 0.1))
    world.add_function("f", plan, timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    damaging(monkeypatch, without("Body"))
    live(world, sending(world, queue, "good", "bad", stop_at=18))
    received = [entry.at for entry in queue.history if entry.kind == "received"]
    assert received == pytest.approx([0, 0, 5, 5, 10, 10, 15, 15], abs=1.3)


def test_a_message_does_not_overtake_a_defective_one_of_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=5)
    target = world.add_function("f", timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    damaged: list[str] = []

    def damages_once(message: dict[str, Any]) -> None:
        if len(damaged) < 2:
            damaged.append(message.pop("Body"))

    damaging(monkeypatch, damages_once)
    live(world, sending(world, queue, "first", "bad", "third", stop_at=30))
    checker.check_order(queue, target.calls, lambda _: True)
    checker.check_groups_are_shown_in_order(queue)
    assert len(damaged) == 2
    assert not queue.message_ids
    assert world.facts_of(SourceRecovered)


def test_a_group_becomes_visible_in_order_even_if_the_message_before_a_defective_one_waits_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    target = world.add_function("f", FunctionPlan(throttle_rate=1.0, ends_at=100.0))
    world.add_mapping("m", queue, "f")
    damaged: list[str] = []

    def damages_once(message: dict[str, Any]) -> None:
        if not damaged:
            damaged.append(message.pop("Body"))

    damaging(monkeypatch, damages_once)
    live(world, sending(world, queue, "first", "bad", "third", stop_at=200))
    assert damaged
    assert [len(call.message_ids) for call in target.calls] == [1, 2]
    assert target.calls[0].began_at > 90, "the first message waited for its function"
    checker.check_groups_are_shown_in_order(queue)
    assert not queue.message_ids


def test_a_group_becomes_visible_in_order_even_if_its_defective_message_is_in_a_later_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The limit of 6 MB makes two batches.

    The answer to the first one is lost, and its group stays hidden for whole seconds.
    """
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=30)
    plan = FunctionPlan(lost_answer_rate=1.0, duration_in_seconds=(1.5, 1.5), ends_at=1.0)
    target = world.add_function("f", plan, timeout_in_seconds=10)
    world.add_mapping("m", queue, "f")
    damaged: list[str] = []

    def damages_once(message: dict[str, Any]) -> None:
        if not damaged:
            damaged.append(message.pop("Body"))

    damaging(monkeypatch, damages_once)
    large = "x" * 4_000_000
    live(world, sending(world, queue, f"{large} first", f"{large} second", "bad", stop_at=100))
    assert damaged
    assert len(target.calls[0].message_ids) == 1
    checker.check_groups_are_shown_in_order(queue)
    assert not queue.message_ids


def test_the_trouble_ends_after_the_defective_message_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q", visibility_timeout_in_seconds=30)
    world.add_function("f")
    world.add_mapping("m", queue, "f")
    damaging(monkeypatch, without("MessageId"))

    async def until(life: Life) -> None:
        world.sqs.send(queue, "bad")
        await anyio.sleep_until(10)
        (receipt,) = {entry.receipt for entry in queue.history if entry.receipt}
        queue.delete(receipt, now=10.0)
        await anyio.sleep_until(25)
        assert life.supervisor.statuses()[0].state == "troubled"
        await anyio.sleep_until(65)
        assert life.supervisor.statuses()[0].state == "ready"
        life.begin_stop()

    live(world, until)
    assert len(world.facts_of(SourceRecovered)) == 1


def test_a_stop_makes_a_defective_message_visible_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    queue = world.add_queue("q.fifo", visibility_timeout_in_seconds=5)
    world.add_function("f", FunctionPlan(duration_in_seconds=(60.0, 60.0)), timeout_in_seconds=60)
    world.add_mapping("m", queue, "f")
    damaging(monkeypatch, without("Body"))

    async def until(life: Life) -> None:
        for body in ("bad", "good"):
            world.sqs.send(queue, body, group=body, deduplication_id=body)
        await anyio.sleep_until(10)
        life.stop.hurry()
        await stopping_at(20)(life)

    live(world, until)
    assert len(checker.in_flight(queue)) == 1, "the one that the function has"
