"""How does an SQS queue behave? As a state machine that never waits: `now` is an argument, and randomness is seeded.

A message's states, as in the SQS Developer Guide:

    sent ──(delay)──> visible ──receive──> in flight ──delete──> gone
                         ^                    │
                         ├──visibility timeout passed, or set to 0
                         └──received too often: moved to the dead-letter queue instead

A standard queue returns messages in any order. A receive may return only some of the visible messages
(`short_receive_rate`), and a short poll may return none. A message may be received twice at the same time
(`duplicate_rate`), or exist after its delete (`undeleted_rate`).
A FIFO queue locks a message group while a message of it is in flight. A receive takes messages of one group, in order,
and then messages of the next group. Two sends with the same deduplication id within five minutes make one message. A
receive that is repeated with its attempt id gets the same messages. A delete with an expired receipt handle is refused.

Simpler than SQS: messages have no retention period, and the number of messages in flight has no limit. The order of
the groups is random, an old receipt handle never changes a visibility, and a repeated receive does not raise the count.

Sources: Amazon SQS API Reference, "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"; Amazon SQS Developer
Guide, "Amazon SQS visibility timeout", "FIFO queue delivery logic", "Using dead-letter queues in Amazon SQS".
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, Literal, NamedTuple
from uuid import UUID

from poller.core.envelope import md5_of_attributes
from poller.model.arn import Arn
from tests.fakes.clock import EPOCH

LONGEST_VISIBILITY_IN_SECONDS = 43_200
DEDUPLICATION_INTERVAL_IN_SECONDS = 300.0
ATTEMPT_INTERVAL_IN_SECONDS = 300.0

Wire = dict[str, Any]
"""A message as in ReceiveMessage's JSON answer."""

Kind = Literal[
    "sent",
    "deduplicated",  # a send with a known deduplication id, which made no new message
    "received",  # in flight with a new receipt handle and a higher receive count
    "repeated",  # received again by the same attempt id, with the same handle and count
    "answer_lost",  # the message was received or repeated, but the client never got it
    "visibility_changed",
    "visibility_refused",
    "expired",  # the visibility timeout has passed
    "deleted",
    "delete_ignored",  # success without effect: the message is gone, or (standard queue) the handle is old
    "delete_refused",
    "moved",  # to the dead-letter queue
]


class Entry(NamedTuple):
    """One fact of a queue's history. `at` is on anyio's clock.

    `receipt` is the receipt handle, or None if the fact has none.

    `receive_count` is the message's count after the fact. `detail` is a code, or the new timeout of visibility_changed.
    """

    at: float
    kind: Kind
    message_id: str
    group: str | None
    receipt: str | None
    receive_count: int
    detail: str = ""


class Failure(NamedTuple):
    """The reason why an entry of a batch call failed."""

    code: str
    message: str


@dataclass(eq=False, kw_only=True)
class Stored:
    """A message in the queue. `hidden_until` is the end of its delay or of its visibility timeout."""

    message_id: str
    body: str
    attributes: Mapping[str, Mapping[str, str]]
    system_attributes: dict[str, str]
    group: str | None
    hidden_until: float = 0.0
    is_in_flight: bool = False
    is_deleted: bool = False
    was_modified: bool = False
    receipt: str | None = None
    received_at: float = 0.0
    first_received_at: float | None = None
    receive_count: int = 0


@dataclass(eq=False, kw_only=True)
class FakeQueue:
    """One SQS queue. It calls `on_change` when a message can be received now, or can be received earlier than before.

    `epoch` is the time of day in epoch seconds at which `now` is zero.
    """

    arn: Arn
    seed: int = 0
    epoch: float = EPOCH
    visibility_timeout_in_seconds: int = 30
    delay_in_seconds: float = 0.0
    maximum_message_bytes: int = 1_048_576
    retention_in_seconds: int = 345_600
    maximum_receive_count: int | None = None
    dead_letter_queue: FakeQueue | None = None
    has_content_based_deduplication: bool = False
    short_receive_rate: float = 0.0
    duplicate_rate: float = 0.0
    undeleted_rate: float = 0.0
    on_change: Callable[[], None] = lambda: None
    history: list[Entry] = field(default_factory=list)
    """All facts in the order of their times.

    The end of a visibility timeout has its own time, but is added only at the next use of the queue (see `settle`).
    """

    def __post_init__(self) -> None:
        assert (self.maximum_receive_count is None) == (self.dead_letter_queue is None)
        assert self.dead_letter_queue is None or self.dead_letter_queue.is_fifo == self.is_fifo
        self._rng = Random(self.seed)
        self._messages: dict[str, Stored] = {}
        self._receivable: dict[str, Stored] = {}
        self._groups: defaultdict[str | None, dict[str, Stored]] = defaultdict(dict)
        self._in_flight: Counter[str | None] = Counter()
        self._receipts: dict[str, Stored] = {}
        self._sent_under: dict[str, tuple[float, str]] = {}
        self._attempts: dict[str, tuple[float, list[Stored]]] = {}
        self._alarms: list[tuple[float, int, Stored]] = []
        self._alarms_set = 0
        self._sequence_number = 18_850_000_000_000_000_000

    @property
    def is_fifo(self) -> bool:
        return self.arn.resource.endswith(".fifo")

    @property
    def message_ids(self) -> list[str]:
        """Return the ids of all messages in the queue, also of those in flight, the oldest first."""
        return list(self._messages)

    @property
    def messages(self) -> list[Stored]:
        """Return all messages in the queue, also those in flight, the oldest first."""
        return list(self._messages.values())

    def counts(self, now: float) -> tuple[int, int, int]:
        """Return how many messages are visible, delayed and in flight."""
        self.settle(now)
        in_flight = sum(message.is_in_flight for message in self._messages.values())
        delayed = sum(message.hidden_until > now and not message.is_in_flight for message in self._messages.values())
        return len(self._messages) - delayed - in_flight, delayed, in_flight

    def send(
        self,
        body: str,
        *,
        now: float,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Mapping[str, str]] | None = None,
        trace_header: str | None = None,
        delay_in_seconds: float | None = None,
    ) -> str:
        """Send a message and return its id. `attributes` have the form of SQS's JSON. A FIFO queue needs a group."""
        self.settle(now)
        assert group is not None or not self.is_fifo
        if self.is_fifo and deduplication_id is None and self.has_content_based_deduplication:
            deduplication_id = hashlib.sha256(body.encode()).hexdigest()
        if (original := self._original(deduplication_id, now)) is not None:
            self._note(now, "deduplicated", original)
            return original.message_id
        system = {"SenderId": "AIDAFAKE", "SentTimestamp": self._milliseconds(now)}
        optional = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id, "AWSTraceHeader": trace_header}
        system |= {name: value for name, value in optional.items() if value is not None}
        message = Stored(
            message_id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            body=body,
            attributes=attributes or {},
            system_attributes=system,
            group=group,
        )
        if deduplication_id is not None and self.is_fifo:
            self._sent_under[deduplication_id] = (now, message.message_id)
        self._note(now, "sent", message)
        self._store(message, now, self.delay_in_seconds if delay_in_seconds is None else delay_in_seconds)
        return message.message_id

    def receive(
        self,
        count: int,
        *,
        now: float,
        is_long_poll: bool = True,
        visibility_timeout_in_seconds: float | None = None,
        attempt_id: str | None = None,
    ) -> list[Wire]:
        """Receive now, and return the messages, perhaps none."""
        self.settle(now)
        timeout = self.visibility_timeout_in_seconds
        hidden_until = now + (timeout if visibility_timeout_in_seconds is None else visibility_timeout_in_seconds)
        if attempt_id is not None and (again := self._repeatable(attempt_id, now)):
            for message in again:
                self._hide(message, hidden_until, now)
                self._note(now, "repeated", message)
            return [self._wire(message) for message in again]
        taken: list[Stored] = []
        limit = self._limit(count, is_long_poll)
        for message in self._candidates():
            if len(taken) >= limit:
                break
            if self.maximum_receive_count is None or message.receive_count < self.maximum_receive_count:
                self._take(message, hidden_until, now)
                taken.append(message)
            elif not message.is_in_flight:
                self._redrive(message, now)
        if attempt_id is not None and taken:
            self._attempts[attempt_id] = (now, taken)
        return [self._wire(message) for message in taken]

    def delete(self, receipt: str, *, now: float) -> Failure | None:
        self.settle(now)
        message = self._receipts.get(receipt)
        if message is None:
            return Failure("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        if message.is_deleted:
            self._note(now, "delete_ignored", message, receipt)
            return None
        is_current = message.receipt == receipt
        if self.is_fifo and not (is_current and message.is_in_flight):
            self._note(now, "delete_refused", message, receipt, "ReceiptHandleIsInvalid")
            return Failure("ReceiptHandleIsInvalid", "The receipt handle has expired")
        if not is_current:
            self._note(now, "delete_ignored", message, receipt)
            return None
        self._note(now, "deleted", message, receipt)
        if self.is_fifo or self._rng.random() >= self.undeleted_rate:
            message.is_deleted = True
            self._remove(message)
            self.on_change()
        return None

    def change_visibility(self, receipt: str, timeout_in_seconds: float, *, now: float) -> Failure | None:
        self.settle(now)
        message = self._receipts.get(receipt)
        if message is None:
            return Failure("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        failure = self._visibility_failure(message, receipt, timeout_in_seconds, now)
        if failure is not None:
            self._note(now, "visibility_refused", message, receipt, failure.code)
            return failure
        message.was_modified = True
        self._note(now, "visibility_changed", message, receipt, f"{timeout_in_seconds:g}")
        self._hide(message, now + timeout_in_seconds, now)
        self.on_change()
        return None

    def answer_lost(self, wires: Sequence[Wire], *, now: float) -> None:
        """Add to the history that the client never got these messages."""
        for wire in wires:
            self._note(now, "answer_lost", self._receipts[wire["ReceiptHandle"]], wire["ReceiptHandle"])

    def end_timeouts(self, now: float) -> None:
        """End the visibility timeout of every message in flight, as if its time had passed."""
        self.settle(now)
        for message in list(self._messages.values()):
            if message.is_in_flight:
                self._note(now, "expired", message, message.receipt)
                self._show(message)
        self.on_change()

    def settle(self, now: float) -> None:
        """Apply all changes that happen only because time has passed."""
        while self._alarms and self._alarms[0][0] <= now:
            at, _, message = heappop(self._alarms)
            if message.is_deleted or message.hidden_until != at or message.message_id not in self._messages:
                continue
            if message.is_in_flight:
                self._note(at, "expired", message, message.receipt)
            self._show(message)

    def next_change_at(self) -> float | None:
        """Return the earliest time at which a message can be received, if no call changes anything before."""
        return self._alarms[0][0] if self._alarms else None

    def _original(self, deduplication_id: str | None, now: float) -> Stored | None:
        """Return the message that was sent with this deduplication id, even if it has been deleted."""
        if deduplication_id is None or deduplication_id not in self._sent_under:
            return None
        sent_at, message_id = self._sent_under[deduplication_id]
        if now - sent_at >= DEDUPLICATION_INTERVAL_IN_SECONDS:
            return None
        gone = Stored(message_id=message_id, body="", attributes={}, system_attributes={}, group=None)
        return self._messages.get(message_id, gone)

    def _store(self, message: Stored, now: float, delay_in_seconds: float) -> None:
        if self.is_fifo:
            self._sequence_number += self._rng.randrange(1, 512)
            message.system_attributes["SequenceNumber"] = str(self._sequence_number)
            self._groups[message.group][message.message_id] = message
        self._messages[message.message_id] = message
        self._hide(message, now + delay_in_seconds, now)
        self.on_change()

    def _limit(self, count: int, is_long_poll: bool) -> int:
        if self.is_fifo or self._rng.random() >= self.short_receive_rate:
            return count
        return self._rng.randint(1 if is_long_poll else 0, count)

    def _candidates(self) -> Iterator[Stored]:
        if not self.is_fifo:
            messages = list(self._receivable.values())
            self._rng.shuffle(messages)
            yield from messages
            return
        free = [group for group, messages in self._groups.items() if messages and not self._in_flight[group]]
        self._rng.shuffle(free)
        for group in free:
            for message in list(self._groups[group].values()):
                if message.message_id not in self._receivable:
                    break  # it is delayed, and later messages of its group wait for it
                yield message

    def _take(self, message: Stored, hidden_until: float, now: float) -> None:
        message.receive_count += 1
        message.received_at = now
        message.was_modified = False
        if message.first_received_at is None:
            message.first_received_at = now
        message.receipt = f"AQEB{self._rng.getrandbits(64):016x}"
        self._receipts[message.receipt] = message
        if not message.is_in_flight:
            message.is_in_flight = True
            self._in_flight[message.group] += 1
        self._note(now, "received", message, message.receipt)
        self._hide(message, hidden_until, now)
        if not self.is_fifo and self._rng.random() < self.duplicate_rate:
            self._receivable[message.message_id] = message

    def _redrive(self, message: Stored, now: float) -> None:
        assert self.dead_letter_queue is not None
        self._note(now, "moved", message)
        self._remove(message)
        message.system_attributes["DeadLetterQueueSourceArn"] = str(self.arn)
        self.dead_letter_queue.settle(now)
        self.dead_letter_queue._note(now, "sent", message)
        self.dead_letter_queue._store(message, now, 0)

    def _repeatable(self, attempt_id: str, now: float) -> list[Stored]:
        at, messages = self._attempts.get(attempt_id, (now, []))
        is_unchanged = all(
            message.is_in_flight and message.received_at == at and not message.is_deleted and not message.was_modified
            for message in messages
        )
        return messages if now - at < ATTEMPT_INTERVAL_IN_SECONDS and is_unchanged else []

    def _visibility_failure(self, message: Stored, receipt: str, timeout: float, now: float) -> Failure | None:
        if message.is_deleted or message.receipt != receipt:
            reason = "Message does not exist or is not available for visibility timeout change."
            return Failure("InvalidParameterValue", f"Value {receipt} for parameter ReceiptHandle is invalid. {reason}")
        if not message.is_in_flight:
            return Failure("MessageNotInflight", "The message referred to isn't in flight.")
        if now + timeout - message.received_at > LONGEST_VISIBILITY_IN_SECONDS:
            return Failure("InvalidParameterValue", "Total VisibilityTimeout for the message is beyond the limit.")
        return None

    def _hide(self, message: Stored, until: float, now: float) -> None:
        message.hidden_until = until
        if until <= now:
            self._show(message)
            return
        self._receivable.pop(message.message_id, None)
        self._alarms_set += 1
        heappush(self._alarms, (until, self._alarms_set, message))

    def _show(self, message: Stored) -> None:
        self._land(message)
        self._receivable[message.message_id] = message

    def _land(self, message: Stored) -> None:
        if message.is_in_flight:
            message.is_in_flight = False
            self._in_flight[message.group] -= 1

    def _remove(self, message: Stored) -> None:
        self._land(message)
        del self._messages[message.message_id]
        self._receivable.pop(message.message_id, None)
        if self.is_fifo:
            del self._groups[message.group][message.message_id]

    def _wire(self, message: Stored) -> Wire:
        assert message.first_received_at is not None
        wire: Wire = {
            "MessageId": message.message_id,
            "ReceiptHandle": message.receipt,
            "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
            "Body": message.body,
            "Attributes": message.system_attributes
            | {
                "ApproximateReceiveCount": str(message.receive_count),
                "ApproximateFirstReceiveTimestamp": self._milliseconds(message.first_received_at),
            },
        }
        if message.attributes:
            wire["MessageAttributes"] = message.attributes
            wire["MD5OfMessageAttributes"] = md5_of_attributes(message.attributes)
        return wire

    def _note(self, at: float, kind: Kind, message: Stored, receipt: str | None = None, detail: str = "") -> None:
        receipt = message.receipt if kind == "repeated" else receipt
        self.history.append(Entry(at, kind, message.message_id, message.group, receipt, message.receive_count, detail))

    def _milliseconds(self, now: float) -> str:
        return str(round((self.epoch + now) * 1000))
