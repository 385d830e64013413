"""Does the fake of SQS do what emulators do not do? Rules of real SQS and faults, under virtual time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from poller.errors import AccessDenied, NotFound, Throttled, Unreachable
from poller.model.message import Message
from poller.sources.sqs import SqsSource
from tests.fakes.clock import EPOCH, VirtualClock
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.queue import FakeQueue
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio


@pytest.fixture
def implementation() -> str:
    return "fake on trio"


async def receive(
    source: SqsSource, count: int = 10, wait_in_seconds: int = 0, visibility: int | None = None
) -> list[Message]:
    return await source.receive(count=count, wait_in_seconds=wait_in_seconds, visibility_timeout_in_seconds=visibility)


def kinds(queue: FakeQueue) -> list[str]:
    return [entry.kind for entry in queue.history]


async def test_the_time_of_day_follows_the_virtual_clock() -> None:
    await anyio.sleep(86_400)
    assert VirtualClock().now() == EPOCH + 86_400


async def test_timestamps_have_the_virtual_time_of_day() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    await anyio.sleep(2.5)
    sqs.send(queue, "m", delay_in_seconds=3)
    [message] = await receive(sqs.source(queue), wait_in_seconds=20)
    assert message.sent_at == EPOCH + 2.5
    assert message.record["attributes"]["ApproximateFirstReceiveTimestamp"] == str(round((EPOCH + 5.5) * 1000))
    assert anyio.current_time() == 5.5


async def test_a_long_poll_wakes_when_a_message_is_sent() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    received: list[Message] = []

    async def poll() -> None:
        received.extend(await receive(sqs.source(queue), wait_in_seconds=20))

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.sleep(7)
        sqs.send(queue, "m")
    assert len(received) == 1
    assert anyio.current_time() == 7


async def test_a_long_poll_wakes_when_a_message_group_becomes_free() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    source = sqs.source(queue)
    for body in ("1", "2"):
        sqs.send(queue, body, group="g")
    first = await receive(source, 1)
    received: list[Message] = []

    async def poll() -> None:
        received.extend(await receive(source, wait_in_seconds=20))

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.wait_all_tasks_blocked()
        assert received == []
        await source.delete(first)
    assert [message.record["body"] for message in received] == ["2"]
    assert anyio.current_time() == 0


async def test_a_long_poll_wakes_after_a_visibility_timeout_and_the_expiry_is_recorded_at_its_time() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders", visibility_timeout_in_seconds=5)
    sqs.send(queue, "m")
    await receive(sqs.source(queue))
    await receive(sqs.source(queue), wait_in_seconds=20)
    assert [(entry.at, entry.kind) for entry in queue.history] == [
        (0, "sent"),
        (0, "received"),
        (5, "expired"),
        (5, "received"),
    ]


async def test_an_expiry_without_a_waiting_poll_is_recorded_at_its_own_time() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    await receive(sqs.source(queue))
    await anyio.sleep(100)
    queue.settle(anyio.current_time())
    assert [(entry.at, entry.kind) for entry in queue.history][-1] == (30, "expired")


async def test_a_standard_delete_with_an_old_receipt_succeeds_and_deletes_nothing() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    source = sqs.source(queue)
    message_id = sqs.send(queue, "m")
    old = await receive(source, visibility=1)
    new = await receive(source, wait_in_seconds=5)
    assert await source.delete(old) == []
    assert queue.message_ids == [message_id]
    assert await source.delete(new) == []
    assert queue.message_ids == []
    assert kinds(queue)[-2:] == ["delete_ignored", "deleted"]


async def test_a_standard_delete_with_an_expired_receipt_deletes_a_message_not_received_since() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    messages = await receive(sqs.source(queue), visibility=1)
    await anyio.sleep(2)
    assert await sqs.source(queue).delete(messages) == []
    assert queue.message_ids == []


async def test_a_fifo_delete_with_an_expired_receipt_is_refused_even_if_not_received_since() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    sqs.send(queue, "m", group="g")
    messages = await receive(sqs.source(queue), visibility=1)
    await anyio.sleep(2)
    [entry] = await sqs.source(queue).delete(messages)
    assert (entry.code, entry.is_final) == ("ReceiptHandleIsInvalid", True)


async def test_an_old_receipt_cannot_hide_a_message() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    source = sqs.source(queue)
    sqs.send(queue, "m")
    old = await receive(source, visibility=1)
    await receive(source, wait_in_seconds=5)
    assert [entry.is_final for entry in await source.change_visibility(old, timeout_in_seconds=60)] == [True]


async def test_a_message_can_be_hidden_for_twelve_hours_after_its_receive_and_no_longer() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    source = sqs.source(queue)
    sqs.send(queue, "m")
    messages = await receive(source, visibility=43_200)
    await anyio.sleep(3600)
    assert await source.change_visibility(messages, timeout_in_seconds=39_600) == []
    [entry] = await source.change_visibility(messages, timeout_in_seconds=39_601)
    assert entry.is_final


async def test_a_deduplication_id_is_kept_for_five_minutes_even_after_the_message_is_deleted() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    source = sqs.source(queue)
    first = sqs.send(queue, "m", group="g", deduplication_id="d")
    await source.delete(await receive(source))
    assert sqs.send(queue, "m", group="g", deduplication_id="d") == first
    assert queue.message_ids == []
    await anyio.sleep(300)
    assert sqs.send(queue, "m", group="g", deduplication_id="d") != first


async def test_a_message_in_the_dead_letter_queue_names_the_queue_that_it_came_from() -> None:
    sqs = FakeSqs()
    dead_letters = sqs.create_queue("dead.fifo")
    queue = sqs.create_queue("orders.fifo", dead_letter_queue=dead_letters, maximum_receive_count=1)
    source = sqs.source(queue)
    for body in ("poison", "next"):
        sqs.send(queue, body, group="g")
    await receive(source, 1, visibility=1)
    [after] = await receive(source, 1, wait_in_seconds=5)
    assert after.record["body"] == "next"
    [dead] = await receive(sqs.source(dead_letters))
    assert dead.record["attributes"]["DeadLetterQueueSourceArn"] == str(queue.arn)
    assert (dead.record["body"], dead.record["attributes"]["ApproximateReceiveCount"]) == ("poison", "2")


async def test_a_message_group_stays_locked_while_any_message_of_it_is_in_flight() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    source = sqs.source(queue)
    for body in ("1", "2"):
        sqs.send(queue, body, group="g")
    first, second = await receive(source)
    assert await source.change_visibility([first], timeout_in_seconds=0) == []
    assert await receive(source) == []
    assert await source.delete([second]) == []
    assert [message.record["body"] for message in await receive(source)] == ["1"]


async def test_a_delayed_message_holds_back_the_later_ones_of_its_message_group() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    sqs.send(queue, "1", group="g", delay_in_seconds=5)
    sqs.send(queue, "2", group="g")
    assert await receive(sqs.source(queue), wait_in_seconds=4) == []
    messages = await receive(sqs.source(queue), wait_in_seconds=20)
    assert [message.record["body"] for message in messages] == ["1", "2"]


async def test_a_repeated_receive_hides_its_messages_again_unless_they_were_changed() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders.fifo")
    sqs.send(queue, "m", group="g")
    [first] = queue.receive(10, now=0, attempt_id="a")
    assert queue.receive(10, now=20, attempt_id="a") == [first]
    assert queue.receive(10, now=49, attempt_id="b") == []
    queue.change_visibility(first["ReceiptHandle"], 60, now=49)
    assert queue.receive(10, now=50, attempt_id="a") == []
    [second] = queue.receive(10, now=109, attempt_id="a")
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


async def test_a_standard_queue_shuffles_its_messages_and_may_return_fewer_than_it_has() -> None:
    orders, counts = set(), Counter[int]()
    for seed in range(30):
        sqs = FakeSqs(seed=seed)
        queue = sqs.create_queue("orders", short_receive_rate=0.5)
        for number in range(10):
            sqs.send(queue, str(number))
        messages = await receive(sqs.source(queue), wait_in_seconds=1)
        orders.add(tuple(message.record["body"] for message in messages))
        counts[len(messages)] += 1
    assert len(orders) > 15
    assert counts[10] > 5
    assert sum(counts[few] for few in range(1, 10)) > 5


async def test_a_standard_queue_delivers_messages_twice_at_its_duplicate_rate() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders", duplicate_rate=1.0)
    message_id = sqs.send(queue, "m")
    first, second = [(await receive(sqs.source(queue)))[0] for _ in range(2)]
    assert first.message_id == second.message_id == message_id
    assert first.receipt_handle != second.receipt_handle


async def test_a_deleted_message_may_be_delivered_again() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders", undeleted_rate=1.0)
    message_id = sqs.send(queue, "m")
    source = sqs.source(queue)
    assert await source.delete(await receive(source, visibility=1)) == []
    [message] = await receive(source, wait_in_seconds=20)
    assert message.message_id == message_id
    assert kinds(queue) == ["sent", "received", "deleted", "expired", "received"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.THROTTLED, Throttled),
        (Fault.UNREACHABLE, Unreachable),
        (Fault.ACCESS_DENIED, AccessDenied),
        (Fault.NOT_FOUND, NotFound),
    ],
)
async def test_a_request_lost_before_it_arrived_does_not_touch_the_messages(
    fault: Fault, error: type[Exception]
) -> None:
    sqs = FakeSqs(faults=FaultPlan(outages=[Outage(0, 10, fault)]))
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    with pytest.raises(error):
        await receive(sqs.source(queue))
    assert kinds(queue) == ["sent"]
    await anyio.sleep(10)
    assert len(await receive(sqs.source(queue))) == 1


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ANSWER_SLOW])
async def test_the_messages_of_a_lost_answer_are_in_flight(fault: Fault) -> None:
    sqs = FakeSqs(faults=FaultPlan(slow_answer_in_seconds=60))
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    sqs.faults.script("ReceiveMessage", fault)
    with pytest.raises(Unreachable) as raised:
        await receive(sqs.source(queue))
    assert raised.value.was_sent
    assert kinds(queue) == ["sent", "received", "answer_lost"]


async def test_a_delete_whose_answer_was_lost_has_an_effect() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    messages = await receive(sqs.source(queue))
    sqs.faults.script("DeleteMessageBatch", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable):
        await sqs.source(queue).delete(messages)
    assert queue.message_ids == []
    assert await sqs.source(queue).delete(messages) == []


async def test_the_messages_of_a_receive_cancelled_before_its_answer_are_in_flight() -> None:
    sqs = FakeSqs(faults=FaultPlan(latency_in_seconds=(1, 1)))
    queue = sqs.create_queue("orders")
    sqs.send(queue, "m")
    with anyio.move_on_after(1.5):
        await receive(sqs.source(queue))
    assert kinds(queue) == ["sent", "received", "answer_lost"]


@pytest.mark.parametrize(
    ("ghost_rate", "sent_after", "is_taken"), [(1.0, 10, True), (1.0, 20, False), (0.0, 10, False)]
)
async def test_a_cancelled_long_poll_may_take_messages_until_its_time_is_over(
    ghost_rate: float, sent_after: float, is_taken: bool
) -> None:
    sqs = FakeSqs(faults=FaultPlan(ghost_rate=ghost_rate))
    queue = sqs.create_queue("orders")
    with anyio.move_on_after(5):
        await receive(sqs.source(queue), wait_in_seconds=20)
    await anyio.sleep(sent_after - 5)
    sqs.send(queue, "m")
    assert ("answer_lost" in kinds(queue)) is is_taken


async def test_a_cancelled_long_poll_waits_for_messages_to_take() -> None:
    sqs = FakeSqs(faults=FaultPlan(ghost_rate=1.0))
    queue = sqs.create_queue("orders")
    with anyio.move_on_after(5):
        await receive(sqs.source(queue), wait_in_seconds=20)
    later = sqs.send(queue, "later", delay_in_seconds=60)
    taken = sqs.send(queue, "taken")
    assert [entry.message_id for entry in queue.history if entry.kind == "answer_lost"] == [taken]
    assert queue.message_ids == [later, taken]


async def test_waiting_polls_of_a_deleted_queue_fail() -> None:
    sqs = FakeSqs()
    queue = sqs.create_queue("orders")

    async def poll() -> None:
        with pytest.raises(NotFound):
            await receive(sqs.source(queue), wait_in_seconds=20)

    async with anyio.create_task_group() as group:
        group.start_soon(poll)
        await anyio.wait_all_tasks_blocked()
        sqs.delete_queue(queue)


async def a_busy_hour(seed: int) -> list[Any]:
    faults = FaultPlan(
        seed=seed,
        latency_in_seconds=(0.01, 0.3),
        throttle_rate=0.05,
        unreachable_rate=0.05,
        lost_answer_rate=0.05,
        slow_answer_rate=0.05,
        entry_failure_rate=0.05,
        ends_at=anyio.current_time() + 3000,
    )
    sqs = FakeSqs(seed=seed, faults=faults)
    queue = sqs.create_queue("orders", duplicate_rate=0.1, undeleted_rate=0.1, short_receive_rate=0.5)
    source = sqs.source(queue)
    began_at = anyio.current_time()
    for number in range(200):
        sqs.send(queue, str(number), delay_in_seconds=number)
    while anyio.current_time() < began_at + 3600:
        try:
            await source.delete(await receive(source, wait_in_seconds=20))
        except (Throttled, Unreachable):
            await anyio.sleep(1)
    return [entry._replace(at=round(entry.at - began_at, 6)) for entry in queue.history]


@pytest.mark.slow
async def test_the_same_seed_gives_the_same_history_and_at_the_end_every_message_is_deleted() -> None:
    history = await a_busy_hour(1)
    assert history == await a_busy_hour(1)
    assert history != await a_busy_hour(2)
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)
    counts = Counter(entry.kind for entry in history)
    assert counts["sent"] == 200
    assert counts["answer_lost"] > 0
    assert counts["expired"] > 0
    last = {entry.message_id: entry.kind for entry in history}
    assert set(last.values()) <= {"deleted", "delete_ignored"}
