from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import orjson
import pytest
from trio.testing import MockClock

from poller.errors import EventQueueRefused, NotFound, Rejected, Unreachable
from poller.event_queues.messages import MARK
from poller.event_queues.sqs import SqsEventQueue
from poller.model.event import CLAIM_IN_SECONDS, Event, LastAttempt, TakenEvent
from tests.fakes.clock import VirtualClock
from tests.fakes.events import RESIZE, event
from tests.fakes.faults import Fault
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class World:
    """An SQS queue that is the event queue of one function."""

    def __init__(self, of_sender: Callable[[Event], Event | None] = lambda event: event, **settings: Any) -> None:
        self.sqs = FakeSqs()
        self.clock = VirtualClock()
        self.stored = self.sqs.create_queue("events", **settings)
        self.queue = self.another(of_sender)

    def another(self, of_sender: Callable[[Event], Event | None] = lambda event: event) -> SqsEventQueue:
        """Return another adapter for the same SQS queue, as another daemon has one."""
        return SqsEventQueue(
            self.sqs,
            self.sqs.source(self.stored),
            queue_url=self.sqs.url(self.stored),
            function=RESIZE,
            clock=self.clock,
            of_sender=of_sender,
        )

    def event(self, **fields: Any) -> Event:
        return event(self.clock.now(), **fields)

    async def take(self, *, wait_in_seconds: float = 0.0, count: int = 10) -> list[TakenEvent]:
        return await self.queue.take(RESIZE, count=count, wait_in_seconds=wait_in_seconds)

    async def take_one(self) -> TakenEvent:
        with anyio.fail_after(100_000):
            [taken] = await self.take(wait_in_seconds=90_000)
        return taken

    def facts(self, kind: str) -> int:
        return sum(entry.kind == kind for entry in self.stored.history)


@pytest.fixture
async def world(anyio_backend: Any) -> World:
    return World()


async def test_a_queue_with_a_redrive_policy_is_refused() -> None:
    dead = FakeSqs().create_queue("dead")
    world = World(maximum_receive_count=3, dead_letter_queue=dead)
    with pytest.raises(Rejected, match="has a redrive policy") as caught:
        await world.queue.describe()
    assert caught.value.code == "RedrivePolicy"


async def test_a_redrive_policy_that_is_added_later_stops_the_taking_and_the_storing_until_it_is_removed(
    world: World,
) -> None:
    await world.queue.describe()
    await world.queue.put([world.event(), world.event()])
    [in_hand] = await world.take(count=1)
    world.stored.maximum_receive_count, world.stored.dead_letter_queue = 3, FakeSqs().create_queue("dead")
    with pytest.raises(EventQueueRefused, match="has a redrive policy"):
        await world.queue.depth(RESIZE)
    received = world.facts("received")
    with pytest.raises(EventQueueRefused):
        await world.take()
    with pytest.raises(EventQueueRefused):
        await world.queue.put([world.event()])
    assert world.facts("received") == received
    await world.queue.put_back(in_hand, replace(in_hand.event, attempts=1))
    world.stored.dead_letter_queue = None
    assert (await world.queue.depth(RESIZE)).waiting == 2
    assert len(await world.take()) == 2


async def test_a_queue_with_a_short_retention_period_is_refused() -> None:
    with pytest.raises(Rejected, match="MessageRetentionPeriod must be at least 21600"):
        await World(retention_in_seconds=21_599).queue.describe()
    await World(retention_in_seconds=21_600).queue.describe()


async def test_a_call_to_a_missing_queue_raises_not_found(world: World) -> None:
    world.sqs.delete_queue(world.stored)
    with pytest.raises(NotFound):
        await world.queue.describe()


async def test_the_attributes_of_an_event_count_towards_the_largest_message_size() -> None:
    world = World(maximum_message_bytes=1024)
    await world.queue.describe()
    await world.queue.put([world.event(payload=b"1" * 800)])
    for fields in ({"payload": b"1" * 1000}, {"payload": b"1" * 800, "invoked_arn": "a" * 200}):
        with pytest.raises(Rejected, match="accepts 1024") as caught:
            await world.queue.put([world.event(**fields)])
        assert caught.value.code == "EventTooLarge"
    assert world.facts("sent") == 1


async def test_characters_that_sqs_refuses_are_escaped_in_the_payload(world: World) -> None:
    text = "a \ufffe b \uffff c – \U0001f600"
    await world.queue.put([world.event(payload=orjson.dumps({text: text}))])
    [body] = [message.body for message in world.stored.messages]
    assert not {"\ufffe", "\uffff"} & set(body)
    assert orjson.loads((await world.take_one()).event.payload) == {text: text}


async def test_an_event_may_wait_longer_than_the_longest_delay_of_sqs(world: World) -> None:
    put = world.event(due_in=3000.0)
    await world.queue.put([put])
    taken = await world.take_one()
    assert put.due_at <= world.clock.now() < put.due_at + 2
    assert replace(taken.event, postponements=0) == put


async def test_an_attempt_that_counts_becomes_a_new_message_of_the_same_event(world: World) -> None:
    put = world.event(payload=b'{"a": 1}', trace="Root=1-2-3", traceparent="00-1-2-01")
    await world.queue.put([put])
    taken = await world.take_one()
    last = LastAttempt(status_code=200, function_error="Unhandled", error_message="no")
    failed = replace(put, attempts=1, due_at=put.accepted_at + 60, last=last)
    await world.queue.put_back(taken, failed)
    assert (world.facts("sent"), world.facts("deleted")) == (2, 1)
    assert (await world.take_one()).event == failed
    assert failed.due_at <= world.clock.now() < failed.due_at + 1


async def test_a_throttled_event_stays_one_message_that_counts_its_postponements(world: World) -> None:
    put = world.event()
    await world.queue.put([put])
    for postponements in (1, 2, 3):
        taken = await world.take_one()
        assert taken.event == replace(put, postponements=postponements - 1)
        again_at = world.clock.now() + 50
        await world.queue.put_back(taken, replace(taken.event, postponements=postponements, due_at=again_at))
        assert await world.take() == []
    assert world.facts("sent") == 1
    await world.take_one()
    assert world.clock.now() == pytest.approx(again_at, abs=1)


async def test_the_answer_to_a_throttled_event_is_kept_for_the_record_of_its_end(world: World) -> None:
    put = world.event()
    await world.queue.put([put])
    last = LastAttempt(status_code=429, error_message="Rate Exceeded.")
    for postponements in (1, 2, 3):
        taken = await world.take_one()
        again_at = world.clock.now() + 50
        await world.queue.put_back(taken, replace(taken.event, postponements=postponements, due_at=again_at, last=last))
    assert (await world.take_one()).event == replace(put, postponements=3, due_at=put.accepted_at + 50, last=last)
    assert world.facts("sent") == 2, "only the first throttle changes the message"


async def test_the_message_of_the_next_attempt_continues_the_count_of_postponements(world: World) -> None:
    await world.queue.put([world.event()])
    taken = await world.take_one()
    await world.queue.put_back(taken, replace(taken.event, attempts=1, postponements=5))
    taken = await world.take_one()
    await world.queue.put_back(taken, replace(taken.event, postponements=6))
    assert (await world.take_one()).event.postponements == 6


async def test_an_event_that_is_put_back_at_a_stop_may_be_taken_at_once(world: World) -> None:
    await world.queue.put([world.event()])
    taken = await world.take_one()
    await world.queue.put_back(taken, taken.event)
    assert len(await world.take()) == 1


async def test_a_failed_send_keeps_the_claimed_message(world: World) -> None:
    await world.queue.put([world.event()])
    taken = await world.take_one()
    world.sqs.faults.script("SendMessage", Fault.UNREACHABLE)
    with pytest.raises(Unreachable):
        await world.queue.put_back(taken, replace(taken.event, attempts=1))
    assert world.facts("deleted") == 0


@pytest.mark.parametrize(("failures", "messages"), [(2, 1), (3, 2)])
async def test_a_delete_after_a_send_is_tried_again_and_never_sends_twice(
    world: World, failures: int, messages: int
) -> None:
    await world.queue.put([world.event()])
    taken = await world.take_one()
    world.sqs.faults.script("DeleteMessageBatch", *[Fault.UNREACHABLE] * failures)
    await world.queue.put_back(taken, replace(taken.event, attempts=1))
    assert world.facts("sent") == 2
    assert len(world.stored.message_ids) == messages


async def test_a_put_back_that_is_cancelled_after_the_send_still_deletes_the_old_message(world: World) -> None:
    world.sqs.faults.latency_in_seconds = (1.0, 1.0)
    await world.queue.put([world.event()])
    taken = await world.take_one()
    with anyio.move_on_after(3):
        await world.queue.put_back(taken, replace(taken.event, attempts=1))
    assert (world.facts("sent"), world.facts("deleted")) == (2, 1)


async def test_an_event_whose_claim_is_lost_is_not_sent_again(world: World) -> None:
    await world.queue.put([world.event()])
    lost = await world.take_one()
    await anyio.sleep(CLAIM_IN_SECONDS + 1)
    kept = await world.take_one()
    await world.queue.put_back(lost, replace(lost.event, attempts=1))
    assert world.facts("sent") == 1
    await world.queue.put_back(kept, replace(kept.event, attempts=1))
    assert world.facts("sent") == 2


@pytest.mark.parametrize("rejected", ["remove", "extend"])
async def test_a_call_that_sqs_did_not_carry_out_may_be_tried_again(world: World, rejected: str) -> None:
    await world.queue.put([world.event()])
    taken = await world.take_one()
    world.sqs.faults.entry_failure_rate = 1.0
    with pytest.raises(Unreachable):
        await (world.queue.remove(taken) if rejected == "remove" else world.queue.extend(taken, by_seconds=60))


async def test_a_put_fails_if_sqs_did_not_store_the_event(world: World) -> None:
    world.sqs.faults.entry_failure_rate = 1.0
    with pytest.raises(Unreachable):
        await world.queue.put([world.event(), world.event()])


async def test_a_put_sends_ten_events_in_a_call_and_no_call_is_too_large() -> None:
    world = World(maximum_message_bytes=10_000)
    await world.queue.describe()
    calls: list[int] = []
    call = world.sqs.call

    async def counted(operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        calls.append(len(orjson.loads(body).get("Entries", [0])))
        return await call(operation, body, timeout_in_seconds=timeout_in_seconds)

    world.sqs.call = counted  # type: ignore[method-assign]
    await world.queue.put([world.event() for _ in range(25)])
    assert calls == [10, 10, 5]
    calls.clear()
    await world.queue.put([world.event(payload=b"1" * 4000) for _ in range(5)])
    assert calls == [2, 2, 1]


async def test_the_messages_of_senders_are_converted_and_those_of_poller_are_not() -> None:
    def of_sender(found: Event) -> Event | None:
        return None if found.payload == b"test" else replace(found, payload=b"[%b]" % found.payload)

    world = World(of_sender)
    world.sqs.send(world.stored, "test")
    message_id = world.sqs.send(world.stored, '{"from": "S3"}', trace_header="Root=1-2-3;Lineage=a:1")
    sent_at = world.clock.now()
    taken = await world.take_one()
    assert taken.event == Event(
        request_id=taken.event.request_id,
        function=RESIZE,
        payload=b'[{"from": "S3"}]',
        accepted_at=sent_at,
        due_at=sent_at,
        trace="Root=1-2-3;Lineage=a:1",
    )
    assert taken.event.request_id == message_id
    assert world.facts("deleted") == 1, "the message that needs no event"
    await world.queue.put([world.event(payload=b"test")])
    assert (await world.take_one()).event.payload == b"test"
    failed = replace(taken.event, attempts=1)
    await world.queue.put_back(taken, failed)
    assert (await world.take_one()).event == failed


GOOD = {"request_id": "a-1", "accepted_at": 1.5, "due_at": 1.5, "attempts": 2}


@pytest.mark.parametrize(
    "mark",
    [
        "",
        "no JSON",
        "[]",
        "[" * 5000,
        "{}",
        orjson.dumps(GOOD | {"request_id": "a b"}).decode(),
        orjson.dumps(GOOD | {"request_id": 7}).decode(),
        orjson.dumps(GOOD | {"accepted_at": "now"}).decode(),
        orjson.dumps(GOOD | {"accepted_at": -1}).decode(),
        orjson.dumps(GOOD | {"due_at": True}).decode(),
        orjson.dumps(GOOD | {"attempts": -1}).decode(),
        orjson.dumps(GOOD | {"attempts": 1.5}).decode(),
        orjson.dumps(GOOD | {"invoked_arn": "line\nbreak"}).decode(),
        orjson.dumps(GOOD | {"last": {"status_code": "200"}}).decode(),
        orjson.dumps(GOOD | {"last": []}).decode(),
        orjson.dumps(GOOD | {"padding": "x" * 10_000}).decode(),
    ],
    ids=lambda mark: mark[:40],
)
async def test_a_message_with_an_unreadable_mark_counts_as_a_message_of_a_sender(mark: str) -> None:
    seen: list[Event] = []

    def of_sender(found: Event) -> Event:
        seen.append(found)
        return found

    world = World(of_sender)
    message_id = world.sqs.send(world.stored, "1", attributes={MARK: {"DataType": "String", "StringValue": mark}})
    assert (await world.take_one()).event.request_id == message_id
    assert len(seen) == 1


@pytest.mark.slow
async def test_a_forged_mark_cannot_make_an_event_younger_or_hide_it_for_long(world: World) -> None:
    forged = orjson.dumps(GOOD | {"accepted_at": 9e11, "due_at": 9e11}).decode()
    world.sqs.send(world.stored, "1", attributes={MARK: {"DataType": "String", "StringValue": forged}})
    sent_at = world.clock.now()
    taken = await world.take_one()
    assert taken.event.accepted_at == sent_at
    assert world.clock.now() <= sent_at + 43_200 + 1


async def test_a_record_that_sns_delivers_raw_has_its_trace_as_message_attributes(world: World) -> None:
    trace, traceparent = "Root=1-2-3;Lineage=a:1", "00-1-2-01"
    values = {"AWSTraceHeader": trace, "traceparent": traceparent}
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
    world.sqs.send(world.stored, "1", attributes=attributes, trace_header="Root=1-4-5")
    taken = await world.take_one()
    assert (taken.event.trace, taken.event.traceparent) == (trace, traceparent)


async def test_malformed_trace_headers_are_left_out(world: World) -> None:
    attributes = {"traceparent": {"DataType": "String", "StringValue": "00-\r\nEvil: 1"}}
    world.sqs.send(world.stored, "1", attributes=attributes, trace_header="x" * 5000)
    taken = await world.take_one()
    assert (taken.event.trace, taken.event.traceparent) == ("", "")
