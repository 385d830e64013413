"""How are events stored in an SQS standard queue, which any number of daemons may share?

    put           SendMessage, with a delay until the event is due
    take          ReceiveMessage; the claim lasts as long as the visibility timeout
    extend        ChangeMessageVisibility
    put_back      if the attempts or the last answer have changed: SendMessage, then DeleteMessage, because a message
                  cannot be changed
                  otherwise, as after a second throttle or a stop: ChangeMessageVisibility. SQS's receive count then
                  shows how often the event was postponed
    remove        DeleteMessageBatch (`deleting.py`)

A crash between the send and the delete of `put_back` makes a duplicate, and never a loss.
SQS delays a message for 15 minutes at most. A message that is received before its event is due is hidden again.
A queue serves one function. Ended and stuck events are stored in the embedded file, and never in SQS.

A queue in which waiting events could be lost is refused (`core/events/queue_rules.py`).

Sources: Amazon SQS API Reference; Amazon SQS Developer Guide, "Amazon SQS message quotas".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil, floor
from typing import Any, Protocol

import anyio
import orjson
from anyio import CancelScope

from poller.core.events.queue_rules import faults_of, number
from poller.errors import EventQueueRefused, Rejected, ServiceError, Unreachable
from poller.event_queues.deleting import Deleter
from poller.event_queues.messages import LONGEST_WAIT_IN_SECONDS, Entry, entry_of, event_of
from poller.model.event import CLAIM_IN_SECONDS, Event, EventQueueDepth, TakenEvent
from poller.model.ids import FunctionName, MessageId, ReceiptHandle
from poller.model.message import Message, RejectedEntry
from poller.ports import Clock, QueueSource

MAXIMUM_ENTRIES = 10
"""The most messages in one call. Source: Amazon SQS API Reference."""

LONGEST_POLL_IN_SECONDS = 20

MAXIMUM_MESSAGE_IN_BYTES = 1024 * 1024
"""SQS's limit; a queue may have a lower limit. Source: Amazon SQS Developer Guide, "Amazon SQS message quotas"."""

CODE_CHARACTERS = 64
"""How many characters of the error code of a failed entry are kept. SQS's own codes are shorter."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer may take. We chose it above any latency of a healthy service."""

DELETES_AFTER_A_SEND = 3
"""How often the delete after a send is tried. If all tries fail, the function is invoked with the event once more."""


COUNTS = tuple(f"ApproximateNumberOfMessages{suffix}" for suffix in ("", "Delayed", "NotVisible"))
LIMITS = ("MaximumMessageSize", "MessageRetentionPeriod", "RedrivePolicy")


class Client(Protocol):
    """A client of SQS's JSON protocol; aws/ implements it."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Send one request and return the parsed answer. Raises only errors.ServiceError."""


class SqsEventQueue:
    """Implements `ports.EventQueue` for one function in an SQS queue. Call `describe` before the first use.

    `source` receives from the same queue. `of_sender` gets an event whose payload is the body of a sender's message; it
    returns the event that the message becomes, or None if the message is not an event.
    """

    def __init__(
        self,
        client: Client,
        source: QueueSource,
        *,
        queue_url: str,
        function: FunctionName,
        clock: Clock,
        of_sender: Callable[[Event], Event | None],
        claim_in_seconds: int = CLAIM_IN_SECONDS,
    ) -> None:
        self._client = client
        self._source = source
        self._deleter = Deleter(source.delete)
        self._queue_url = queue_url
        self._function = function
        self._clock = clock
        self._of_sender = of_sender
        self._claim_in_seconds = claim_in_seconds
        self._maximum_message_bytes = MAXIMUM_MESSAGE_IN_BYTES
        self._faults: Mapping[str, str] = {}

    async def describe(self) -> None:
        """Ask SQS for the queue's limits.

        Raises EventQueueRefused if events could be lost in the queue, or another ServiceError.
        """
        await self._described()

    async def put(self, events: Sequence[Event]) -> None:
        """Send the events, ten at most in a call. If a call fails, the events of the earlier calls are stored."""
        self._refuse_if_events_could_be_lost()
        entries = [self._entry(event) for event in events]
        for some in _batches(entries, self._maximum_message_bytes):
            await self._send(some)

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        """Receive up to `count` events, ten at most. A message that is not an event is deleted."""
        assert function == self._function, "the queue serves one function"
        self._refuse_if_events_could_be_lost()
        until = anyio.current_time() + wait_in_seconds
        while True:
            left = max(0, floor(until - anyio.current_time()))
            taken = await self._receive(min(count, MAXIMUM_ENTRIES), min(left, LONGEST_POLL_IN_SECONDS))
            if taken or until - anyio.current_time() < 1:
                return taken

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        """Hide the message for longer. SQS allows twelve hours in total; then the claim is lost."""
        until = self._clock.now() + by_seconds
        return replace(taken, claimed_until=until) if await self._hide(taken, by_seconds) else None

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        """Send the changed event as a new message and delete the old one, or hide the message until the event is due.

        The message is only hidden if the attempts and the last answer are unchanged.
        Raises Rejected if the queue does not accept the changed event; its message then stays claimed.
        """
        assert (event.request_id, event.function) == (taken.event.request_id, taken.event.function)
        now = self._clock.now()
        if (event.attempts, event.last) == (taken.event.attempts, taken.event.last):
            await self._hide(taken, event.due_at - now)
            return
        entry = self._entry(event)
        if now >= taken.claimed_until and await self.extend(taken, by_seconds=self._claim_in_seconds) is None:
            return  # another process may have the event: a send would make a second event
        await self._send([entry])
        with CancelScope(shield=True):  # bounded by the timeout of each call
            await self._delete_after_a_send(taken)

    async def remove(self, taken: TakenEvent) -> None:
        """Delete the message. A standard queue may delete the message even if the claim is lost."""
        rejected = await self._deleter.delete(_message(taken))
        _raise_unless_final([] if rejected is None else [rejected])

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        """Return SQS's own counts, which lag by up to a minute.

        An event that is hidden until it is due counts as in flight.
        The same request returns the queue's limits, so it shows a redrive policy that somebody has added. Then this
        method raises EventQueueRefused, and no event is taken or put any more.
        """
        assert function == self._function, "the queue serves one function"
        attributes = await self._described(*COUNTS)
        visible, delayed, in_flight = (_number(attributes, name) for name in COUNTS)
        return EventQueueDepth(waiting=visible + delayed, in_flight=in_flight)

    def _entry(self, event: Event) -> Entry:
        entry = entry_of(event, now=self._clock.now())
        if entry.size_in_bytes > self._maximum_message_bytes:
            raise Rejected(
                f"the event has {entry.size_in_bytes} bytes with its attributes; the event queue accepts "
                f"{self._maximum_message_bytes}",
                code="EventTooLarge",
            )
        return entry

    async def _send(self, entries: Sequence[Entry]) -> None:
        """Send one to ten messages. If SQS has not stored all of them, raises Rejected or another ServiceError."""
        if len(entries) == 1:
            await self._call("SendMessage", **entries[0].parameters)
            return
        documents = [{"Id": str(index)} | entry.parameters for index, entry in enumerate(entries)]
        answer = await self._call("SendMessageBatch", Entries=documents)
        failed = answer.get("Failed") if isinstance(answer, dict) else None
        for each in failed or ():
            code = str(each.get("Code"))[:CODE_CHARACTERS]
            if each.get("SenderFault"):
                raise Rejected(f"SQS did not accept an event: {code}", code=code)
            raise Unreachable(f"SQS did not store an event: {code}", code=code, was_sent=True)

    async def _receive(self, count: int, wait_in_seconds: int) -> list[TakenEvent]:
        claimed_until = self._clock.now() + self._claim_in_seconds
        messages = await self._source.receive(
            count=count, wait_in_seconds=wait_in_seconds, visibility_timeout_in_seconds=self._claim_in_seconds
        )
        taken = [await self._taken(message, claimed_until) for message in messages if message.defect is None]
        return [each for each in taken if each is not None]

    async def _taken(self, message: Message, claimed_until: float) -> TakenEvent | None:
        """Return the event of a message. Return None if the message is not an event, or if the event is not due yet."""
        found, is_ours = event_of(message, self._function)
        event = found if is_ours else self._of_sender(found)
        if event is None:
            with suppress(ServiceError):  # after a failure, SQS gives the message again
                await self._source.delete([message])
            return None
        taken = TakenEvent(event=event, handle=message.receipt_handle, claimed_until=claimed_until)
        if (wait := event.due_at - self._clock.now()) > 0:
            with suppress(ServiceError):
                await self._hide(taken, wait)
            return None
        return taken

    async def _hide(self, taken: TakenEvent, seconds: float) -> bool:
        """Hide the message for this time from now; zero or less ends the claim. Return False if the claim is lost."""
        timeout_in_seconds = min(max(0, ceil(seconds)), LONGEST_WAIT_IN_SECONDS)
        rejected = await self._source.change_visibility([_message(taken)], timeout_in_seconds=timeout_in_seconds)
        _raise_unless_final(rejected)
        return not rejected

    async def _delete_after_a_send(self, taken: TakenEvent) -> None:
        for _ in range(DELETES_AFTER_A_SEND):
            with suppress(ServiceError):
                if not any(not entry.is_final for entry in await self._source.delete([_message(taken)])):
                    return

    async def _described(self, *names: str) -> Mapping[str, Any]:
        """Return these attributes, and note the queue's limits. Raises EventQueueRefused if events could be lost."""
        attributes = await self._attributes(*names, *LIMITS)
        self._faults = faults_of(attributes)
        self._refuse_if_events_could_be_lost()
        self._maximum_message_bytes = _number(attributes, "MaximumMessageSize")
        return attributes

    def _refuse_if_events_could_be_lost(self) -> None:
        for code, fault in self._faults.items():
            raise EventQueueRefused(f"{self._queue_url} {fault}", code=code)

    async def _attributes(self, *names: str) -> Mapping[str, Any]:
        answer = await self._call("GetQueueAttributes", AttributeNames=names)
        attributes = answer.get("Attributes") if isinstance(answer, dict) else None
        return attributes if isinstance(attributes, dict) else {}

    async def _call(self, operation: str, **parameters: Any) -> Any:
        body = orjson.dumps({"QueueUrl": self._queue_url} | parameters)
        return await self._client.call(operation, body, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _batches(entries: Sequence[Entry], maximum_bytes: int) -> Iterator[Sequence[Entry]]:
    """Split the entries into calls. The messages of one call have together at most `maximum_bytes`."""
    batch: list[Entry] = []
    for entry in entries:
        size = entry.size_in_bytes + sum(each.size_in_bytes for each in batch)
        if batch and (size > maximum_bytes or len(batch) == MAXIMUM_ENTRIES):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def _message(taken: TakenEvent) -> Message:
    """Return a message that has only the receipt handle, because SQS needs nothing else."""
    return Message(MessageId(""), ReceiptHandle(taken.handle), None, 0.0, {})


def _raise_unless_final(rejected: Sequence[RejectedEntry]) -> None:
    """Raise Unreachable if a second try may succeed. A final rejection means that the claim is lost."""
    for entry in rejected:
        if not entry.is_final:
            raise Unreachable(f"SQS did not change the message: {entry.code}", code=entry.code, was_sent=True)


def _number(attributes: Mapping[str, Any], name: str) -> int:
    value = number(attributes, name)
    if value is None:
        raise Rejected(f"the answer has no {name}: is this SQS?", code="UnusableAnswer")
    return value
