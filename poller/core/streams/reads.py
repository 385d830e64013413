"""Can the records of a read be delivered?

The engine relies on what a stream's service promises: each record has a sequence number, which is higher than that of
the record before it, and the time of its arrival.  An emulator or a proxy may answer otherwise.
Such a read is refused as a whole: to skip a record could lose it, and to reorder the records would be a guess.

This is the hot path, so all records of a read are checked together.

Source: Amazon Kinesis Data Streams API Reference, "GetRecords", "Record"; Amazon DynamoDB Streams API Reference,
"StreamRecord".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from poller.core.streams.positions import are_in_order
from poller.model.stream import Read, SequenceNumber

LONGEST_NUMBER = 129
"""Digits of a sequence number, at most; Amazon Kinesis Data Streams API Reference."""

YEAR_3000 = 32_503_680_000.0
"""Epoch seconds; a later arrival time is in another unit, or is no time."""


def fault_in(read: Read) -> str | None:
    """What is wrong with the read, as the end of a sentence that begins with "the answer has"; None for nothing."""
    behind = read.behind_in_seconds
    if behind is not None and not 0 <= behind < YEAR_3000:
        return "a time behind the tip that cannot be"
    if not read.records:
        return None
    sequence_numbers, lane_keys, arrivals, _ = zip(*read.records, strict=True)
    try:
        if not _are_numbers(sequence_numbers):
            return "a sequence number that is no number"
        if not are_in_order(sequence_numbers):
            return "records whose sequence numbers do not increase"
        "".join(lane_keys)
        if not (min(arrivals) >= 0 and max(arrivals) < YEAR_3000 and isfinite(sum(arrivals))):
            return "an arrival time that cannot be"
    except TypeError:
        return "a record with a value of another kind"
    return None


def _are_numbers(texts: Sequence[SequenceNumber]) -> bool:
    digits = "".join(texts)
    is_decimal = digits.isascii() and digits.encode().isdigit()  # bytes: a tenth of the time that a text takes
    return is_decimal and all(texts) and max(map(len, texts)) <= LONGEST_NUMBER
