"""Is the answer to a read valid?

The service promises that each record has an arrival time, and a sequence number that is higher than that of the record
before it. The answer of an emulator or a proxy may break this promise.
Then the engine refuses the whole read, because it can neither skip a record nor guess the right order.

All records of a read are checked together, because this code runs for every record.

Source: Amazon Kinesis Data Streams API Reference, "GetRecords", "Record"; Amazon DynamoDB Streams API Reference,
"StreamRecord".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from poller.core.positions import are_in_order
from poller.model.stream import Read, SequenceNumber

LONGEST_NUMBER = 129
"""The largest number of digits in a sequence number (Amazon Kinesis Data Streams API Reference)."""

YEAR_3000 = 32_503_680_000.0
"""The year 3000 in epoch seconds. A later arrival time is in another unit, or is not a time."""


def fault_in(read: Read) -> str | None:
    """Return what is wrong with the read, or None. The text continues a sentence that begins with "the answer has"."""
    behind = read.behind_in_seconds
    if behind is not None and not 0 <= behind < YEAR_3000:
        return "an impossible lag behind the tip"
    if not read.records:
        return None
    sequence_numbers, lane_keys, arrivals, _ = zip(*read.records, strict=True)
    try:
        if not _are_numbers(sequence_numbers):
            return "a sequence number that is not a number"
        if not are_in_order(sequence_numbers):
            return "records whose sequence numbers do not increase"
        "".join(lane_keys)
        if not (min(arrivals) >= 0 and max(arrivals) < YEAR_3000 and isfinite(sum(arrivals))):
            return "an impossible arrival time"
    except TypeError:
        return "a record with a value of a wrong type"
    return None


def _are_numbers(texts: Sequence[SequenceNumber]) -> bool:
    digits = "".join(texts)
    is_decimal = digits.isascii() and digits.encode().isdigit()  # checking bytes takes a tenth of the time
    return is_decimal and all(texts) and max(map(len, texts)) <= LONGEST_NUMBER
