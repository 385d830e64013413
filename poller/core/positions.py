"""Which one of two positions in a shard is the later one?

    TrimHorizon  <  AtTimestamp, by time  <  sequence numbers, as numbers  <  ShardEnd

`AtSequence(n)` comes just before `AfterSequence(n)`.
The stored position of a shard only moves forward in this order: a checkpoint never moves back.
Sequence numbers are compared as numbers, because they have different numbers of digits.
A sequence number replaces a timestamp after the first read, never the other way round.
Latest has no place in this order, because it means a different record at each moment. It is never stored.

Sources: Amazon Kinesis Data Streams API reference, "GetShardIterator"; DynamoDB Streams API reference,
"GetShardIterator".
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import lt
from typing import assert_never

from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    TrimHorizon,
)

Rank = tuple[int, float, int]
"""The rank of a position in its shard. A later position has a greater rank.

Sequence numbers are exact integers in it.
"""


def rank(position: Position) -> Rank:
    match position:
        case TrimHorizon():
            return (0, 0, 0)
        case AtTimestamp(timestamp=timestamp):
            return (1, timestamp, 0)
        case AtSequence(sequence_number=sequence_number):
            return (2, number(sequence_number), 0)
        case AfterSequence(sequence_number=sequence_number):
            return (2, number(sequence_number), 1)
        case ShardEnd():
            return (3, 0, 0)
        case Latest():
            raise AssertionError("LATEST has no rank: it means another record at each moment")
    assert_never(position)


def number(sequence_number: SequenceNumber) -> int:
    """Return the sequence number as an int. Raises ValueError if the text has anything but digits."""
    if not (sequence_number.isascii() and sequence_number.isdecimal()):
        raise ValueError("a sequence number has digits only")
    return int(sequence_number)


def are_in_order(sequence_numbers: Sequence[SequenceNumber]) -> bool:
    """Return whether each sequence number is higher than the one before it."""
    values: Sequence[SequenceNumber] | list[int] = sequence_numbers
    if len(set(map(len, sequence_numbers))) > 1:  # texts of equal length sort like their numbers
        values = [number(each) for each in sequence_numbers]
    return all(map(lt, values, values[1:]))
