"""How do positions compare?

    TrimHorizon  <  AtTimestamp, by time  <  sequence numbers, as numbers  <  ShardEnd

`AtSequence(n)` comes just before `AfterSequence(n)`.
It is the order in which the stored positions of one shard may follow each other: a checkpoint never moves back.
Sequence numbers differ in length, so the texts would sort wrongly.
A timestamp is replaced by a sequence number once something was read, never the other way round.
Latest is not among them: it means another record at each moment, and must not be stored.

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
"""The order of positions in one shard: a greater rank is further on. Sequence numbers stay integers in it."""


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
    """The sequence number as an int. Raises ValueError for a text that is no number."""
    if not (sequence_number.isascii() and sequence_number.isdecimal()):
        raise ValueError("a sequence number has digits only")
    return int(sequence_number)


def are_in_order(sequence_numbers: Sequence[SequenceNumber]) -> bool:
    """Whether each is higher than the one before it."""
    values: Sequence[SequenceNumber] | list[int] = sequence_numbers
    if len(set(map(len, sequence_numbers))) > 1:  # texts of one length sort as their numbers do
        values = [number(each) for each in sequence_numbers]
    return all(map(lt, values, values[1:]))
