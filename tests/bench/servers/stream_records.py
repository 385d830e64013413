"""What do canned records of a stream look like? As Kinesis and DynamoDB Streams write them in GetRecords.

A record is a number. It is rendered when it is read, and not kept. Its body of 1 KB has the number and the time of
sending, and `find` finds both in any event.
The data of a Kinesis record begin with 51 bytes that differ. This is a multiple of three, so that the base64 of all
other bytes is made only once.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator

from tests.bench.servers.ledger import Find

BYTES_IN_A_RECORD = 1024

_SEQUENCE_NUMBER = b"4960118965842235937883629852182763847532%016d"
"""The form of a sequence number. Those of Kinesis have 56 digits, and those of DynamoDB about twenty."""

_HEAD = b'{"number":"%012d","sent":"%016d",'
_SAME_IN_ALL_HEADS = b64encode(_HEAD[:9])
_HEAD_IN_BASE64 = 68
_TEXT = b"lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore "


def _filled(before: bytes, after: bytes, size: int) -> bytes:
    room = size - len(before) - len(after)
    return before + (_TEXT * (room // len(_TEXT) + 1))[:room] + after


_TAIL = b64encode(
    _filled(
        b'"kind":"click","page":"/offers/4711","user":{"id":815,"tier":"gold"},"text":"',
        b'"}',
        BYTES_IN_A_RECORD - _HEAD_IN_BASE64 // 4 * 3,
    )
)
_KINESIS_RECORD = (
    b'{"SequenceNumber":"%b","ApproximateArrivalTimestamp":%.3f,"Data":"%b%b","PartitionKey":"customer-%d"}'
)
_FIND_KINESIS = re.compile(rb'"data": ?"(' + _SAME_IN_ALL_HEADS + rb".{%d})" % (_HEAD_IN_BASE64 - 12))

_CHANGE = _filled(
    b'{"awsRegion":"us-east-1","eventID":"%032x","eventName":"MODIFY","eventSource":"aws:dynamodb",'
    b'"eventVersion":"1.1","dynamodb":{"ApproximateCreationDateTime":%d,"Keys":{"id":{"S":"order-%012d"}},'
    b'"NewImage":{"id":{"S":"order-%012d"},"number":{"N":"%d"},"sent":{"N":"%d"},"state":{"S":"open"},'
    b'"lines":{"L":[{"M":{"sku":{"S":"A-1001"},"quantity":{"N":"2"}}},{"M":{"sku":{"S":"B-2002"},'
    b'"quantity":{"N":"1"}}}]},"paid":{"BOOL":true},"note":{"S":"',
    b'"}},"SequenceNumber":"14054000%016d","SizeBytes":512,"StreamViewType":"NEW_IMAGE"}}',
    BYTES_IN_A_RECORD,
)
_FIND_DYNAMODB = re.compile(rb'"number": ?\{"N": ?"(\d+)"\}, ?"sent": ?\{"N": ?"(\d+)"\}')


def kinesis_record(number: int, sent: int) -> bytes:
    """Return a record in the form of Kinesis's JSON. `sent` is in epoch microseconds."""
    head = b64encode(_HEAD % (number, sent))
    return _KINESIS_RECORD % (sequence_number(number), sent / 1e6, head, _TAIL, number % 1000)


def dynamodb_record(number: int, sent: int) -> bytes:
    return _CHANGE % (number, sent // 1_000_000, number, number, number, sent, number)


def find_kinesis(event: bytes) -> Iterator[tuple[int, int]]:
    """Yield the number and the time of sending of each record in an event with base64 under `data`."""
    for head in _FIND_KINESIS.findall(event):
        text = b64decode(head)
        yield int(text[11:23]), int(text[33:49])


def find_dynamodb(event: bytes) -> Iterator[tuple[int, int]]:
    return ((int(number), int(sent)) for number, sent in _FIND_DYNAMODB.findall(event))


def sequence_number(number: int) -> bytes:
    return _SEQUENCE_NUMBER % number


def number_of(sequence: str) -> int:
    return int(sequence[-16:])


RENDER: dict[str, Callable[[int, int], bytes]] = {"kinesis": kinesis_record, "dynamodb": dynamodb_record}
FIND: dict[str, Find] = {"kinesis": find_kinesis, "dynamodb": find_dynamodb}
