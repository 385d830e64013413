"""What does a canned message look like, and what became of it?

A message is a number.  Its body, ids and checksum are rendered when it is received and not kept, so that a queue of a
million costs a few bytes each.  The body carries the number and the time of sending; the ledger finds both again in
whatever a function is called with, and so knows when each message was first handed over, and how often.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Sequence
from hashlib import md5
from typing import NamedTuple

_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt"
BODY = (
    '{"kind":"order","number":%d,"sent":%d,"customer":"c-8f14e45f","currency":"EUR","total":129.9,'
    f'"lines":[{{"sku":"A-1001","quantity":2}},{{"sku":"B-2002","quantity":1}}],"note":"{_FILLER}"}}'
)
"""About 250 bytes: a number and a time of sending in microseconds fill it in."""

_BODY_IN_JSON = BODY.replace('"', '\\"')
_IN_PAYLOAD = re.compile(rb'number\\":(\d+),\\"sent\\":(\d+)')

_MESSAGE = (
    '{"MessageId":"00000000-0000-4000-8000-%012d","ReceiptHandle":"%s","MD5OfBody":"%s","Body":"%s",'
    '"Attributes":{"SenderId":"AIDAIENQZJOLO23YVJ4VO","SentTimestamp":"%d","ApproximateReceiveCount":"%d",'
    '"ApproximateFirstReceiveTimestamp":"%d"%s},'
    '"MD5OfMessageAttributes":"%s",'
    '"MessageAttributes":{"source":{"StringValue":"web","DataType":"String"}}}'
)
_FIFO_ATTRIBUTES = ',"SequenceNumber":"%020d","MessageGroupId":"%s","MessageDeduplicationId":"d-%d"'
_CHECKSUM_OF_ATTRIBUTES = md5(
    b"\0\0\0\6source\0\0\0\6String\1\0\0\0\3web",
    usedforsecurity=False,
).hexdigest()
_RECEIPT_TAIL = "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a" * 9
"""Real receipt handles are some hundred characters long, and clients carry them three times."""


class Sent(NamedTuple):
    """A message that came through SendMessage, with a body of its own."""

    body_in_json: str
    md5_of_body: str


class Faults(NamedTuple):
    """How a run broke the rule that every message is invoked once, in order, and then deleted once."""

    lost: int
    not_deleted: int
    invoked_again: int
    deleted_again: int
    deleted_uninvoked: int
    out_of_order: int


class Ledger:
    """The life of every message, by its number.

    `sent` is in epoch microseconds; the byte arrays count, and stay at 255.
    """

    def __init__(self, *, groups: int) -> None:
        self.groups = groups
        self.sent = array("q")
        self.receives = bytearray()
        self.invokes = bytearray()
        self.deletes = bytearray()
        self.invoked = 0
        self.deleted = 0
        self.deleted_uninvoked = 0
        self.out_of_order = 0
        self.latencies = array("q")
        self._newest_of_group = [-1] * groups

    def add(self, count: int) -> range:
        """Room for `count` messages sent now; returns their numbers."""
        first = len(self.sent)
        self.sent.extend([epoch_microseconds()] * count)
        for counts in (self.receives, self.invokes, self.deletes):
            counts.extend(bytes(count))
        return range(first, first + count)

    def note_sent(self, count: int) -> None:
        """Messages up to this number were sent through another queue: make room for them."""
        if count > len(self.sent):
            self.add(count - len(self.sent))

    def note_invoke(self, payload: bytes) -> None:
        """Find the messages in what a function was called with, and write down when they came."""
        now = epoch_microseconds()
        for number_in_digits, sent in _IN_PAYLOAD.findall(payload):
            number = int(number_in_digits)
            if not self.invokes[number]:
                self.invoked += 1
                self.latencies.append(now - int(sent))
            _count_up(self.invokes, number)
            self._check_order(number)

    def note_delete(self, number: int) -> None:
        if not self.deletes[number]:
            self.deleted += 1
        if not self.invokes[number]:
            self.deleted_uninvoked += 1
        _count_up(self.deletes, number)

    def note_receive(self, number: int) -> int:
        """Returns how often the message was received, this time included."""
        return _count_up(self.receives, number)

    def faults(self, *, is_deletion_seen: bool = True) -> Faults:
        """What is wrong if nothing more is to come. Deletions of another queue's messages are not seen here."""
        return Faults(
            lost=self.invokes.count(0),
            not_deleted=self.deletes.count(0) if is_deletion_seen else 0,
            invoked_again=_counted_above_one(self.invokes),
            deleted_again=_counted_above_one(self.deletes),
            deleted_uninvoked=self.deleted_uninvoked,
            out_of_order=self.out_of_order,
        )

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Microseconds from send to first invoke, of the messages invoked since `latencies` was last cleared."""
        ordered = sorted(self.latencies)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in shares] if ordered else []

    def _check_order(self, number: int) -> None:
        """Within a group, the numbers handed over must rise."""
        if not self.groups:
            return
        group = number % self.groups
        if number <= self._newest_of_group[group]:
            self.out_of_order += 1
        self._newest_of_group[group] = number


def render(number: int, *, ledger: Ledger, group: str | None, own: Sent | None) -> str:
    """The message as ReceiveMessage gives it. Counts as a receive."""
    sent = ledger.sent[number]
    receives = ledger.note_receive(number)
    body = own.body_in_json if own else _BODY_IN_JSON % (number, sent)
    checksum = own.md5_of_body if own else _checksum(BODY % (number, sent))
    milliseconds = sent // 1000
    fifo = _FIFO_ATTRIBUTES % (number, group, number) if group is not None else ""
    receipt = f"{number:012d}-{receives:03d}-{_RECEIPT_TAIL}"
    values = (number, receipt, checksum, body, milliseconds, receives, milliseconds, fifo, _CHECKSUM_OF_ATTRIBUTES)
    return _MESSAGE % values


def number_of(receipt: str) -> int:
    return int(receipt[:12])


def own_body(body: str, body_in_json: str) -> Sent:
    return Sent(body_in_json, _checksum(body))


def epoch_microseconds() -> int:
    return time.time_ns() // 1000


def _checksum(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _count_up(counts: bytearray, number: int) -> int:
    counts[number] = min(counts[number] + 1, 255)
    return counts[number]


def _counted_above_one(counts: bytearray) -> int:
    return len(counts) - counts.count(0) - counts.count(1)
