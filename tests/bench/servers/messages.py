"""What does a canned message look like?

A message is a number. Its body, ids and checksum are rendered at each receive and not kept, so that a queue of a
million messages needs only a few bytes for each. The body has the number and the time of sending, and `find` finds both
in any event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import md5
from typing import NamedTuple

from tests.bench.servers.ledger import Ledger

_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt"
BODY = (
    '{"kind":"order","number":%d,"sent":%d,"customer":"c-8f14e45f","currency":"EUR","total":129.9,'
    f'"lines":[{{"sku":"A-1001","quantity":2}},{{"sku":"B-2002","quantity":1}}],"note":"{_FILLER}"}}'
)
"""The form of a body, with about 250 bytes.

It has places for the number and for the time of sending in microseconds.
"""

_BODY_IN_JSON = BODY.replace('"', '\\"')
_IN_PAYLOAD = re.compile(rb'number\\":(\d+),\\"sent\\":(\d+)')

_MESSAGE = (
    '{"MessageId":"00000000-0000-4000-8000-%012d","ReceiptHandle":"%s","MD5OfBody":"%s","Body":"%s",'
    '"Attributes":{"SenderId":"AIDAIENQZJOLO23YVJ4VO","SentTimestamp":"%d","ApproximateReceiveCount":"%d",'
    '"ApproximateFirstReceiveTimestamp":"%d"%s},'
    '"MD5OfMessageAttributes":"%s",'
    '"MessageAttributes":%s}'
)
_ATTRIBUTES = '{"source":{"StringValue":"web","DataType":"String"}}'
_FIFO_ATTRIBUTES = ',"SequenceNumber":"%020d","MessageGroupId":"%s","MessageDeduplicationId":"d-%d"'
_CHECKSUM_OF_ATTRIBUTES = md5(
    b"\0\0\0\6source\0\0\0\6String\1\0\0\0\3web",
    usedforsecurity=False,
).hexdigest()
_RECEIPT_TAIL = "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a" * 9
"""Makes receipt handles as long as real ones, some hundred characters. Each one is sent or received three times."""


class Sent(NamedTuple):
    """A message that came through SendMessage, with a body and attributes of its own."""

    body_in_json: str
    md5_of_body: str
    attributes: str


def render(number: int, *, ledger: Ledger, group: str | None, own: Sent | None) -> str:
    """Return the message as ReceiveMessage returns it, and count a receive."""
    sent = ledger.sent[number]
    receives = ledger.note_receive(number)
    body = own.body_in_json if own else _BODY_IN_JSON % (number, sent)
    checksum = own.md5_of_body if own else _checksum(BODY % (number, sent))
    milliseconds = sent // 1000
    fifo = _FIFO_ATTRIBUTES % (number, group, number) if group is not None else ""
    receipt = f"{number:012d}-{receives:03d}-{_RECEIPT_TAIL}"
    attributes = own.attributes if own else _ATTRIBUTES
    times = (milliseconds, receives, milliseconds)
    return _MESSAGE % (number, receipt, checksum, body, *times, fifo, _CHECKSUM_OF_ATTRIBUTES, attributes)


def find(event: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number and the time of sending of each message in an event."""
    return ((int(number), int(sent)) for number, sent in _IN_PAYLOAD.findall(event))


def number_of(receipt: str) -> int:
    return int(receipt[:12])


def own_message(body: str, body_in_json: str, attributes: str) -> Sent:
    return Sent(body_in_json, _checksum(body), attributes)


def _checksum(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
