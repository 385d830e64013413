"""Which of two positions is later, for a store that compares texts?

    position              text (core/streams/notation.py)   rank
    TrimHorizon           TRIM_HORIZON                      0
    AtTimestamp(12.5)     AT_TIMESTAMP 12.5                 1 0000000000012.500000
    AtSequence("00123")   AT_SEQUENCE_NUMBER 00123          2 003 123 0
    AfterSequence("123")  AFTER_SEQUENCE_NUMBER 123         2 003 123 1
    ShardEnd              SHARD_END                         3

A rank (written without the spaces) is a text that sorts in the order of the positions in one shard.
Sequence numbers have different lengths, so a rank omits leading zeros and writes the number of digits first.
TRIM_HORIZON and times sort before all sequence numbers, and the shard's end sorts after them.
"""

from __future__ import annotations

from typing import assert_never

from poller.core.streams.notation import DIGITS, format_position
from poller.model.lease import Row
from poller.model.stream import (
    TOO_LATE,
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    TrimHorizon,
)


class CheckpointMovedBack(AssertionError):
    """A save would move a checkpoint back or remove it, which is a fault of our code. The checkpoint is unchanged.

    `shard` names the shard and its mapping.
    """

    def __init__(self, shard: str, *, stored: Position, refused: Position | None) -> None:
        new = "be removed" if refused is None else f"move back to {format_position(refused)}"
        super().__init__(f"{shard}: the checkpoint at {format_position(stored)} must not {new}")


def refuse_to_move_back(stored: Row | None, new: Row) -> None:
    """Raise CheckpointMovedBack if `new` may replace `stored` by its counter, but not by its checkpoint."""
    if stored is None or stored.checkpoint is None or stored.counter != new.counter - 1:
        return
    refused = None if new.checkpoint is None else new.checkpoint.position
    if refused is None or rank(refused) < rank(stored.checkpoint.position):
        raise CheckpointMovedBack(new.key, stored=stored.checkpoint.position, refused=refused)


def rank(position: Position) -> str:
    """Return a text that sorts in the order of the positions in one shard. The position must not be Latest."""
    match position:
        case TrimHorizon():
            return "0"
        case AtTimestamp(timestamp):
            assert 0 <= timestamp < TOO_LATE, timestamp
            return f"1{timestamp:020.6f}"
        case AtSequence(number):
            return f"2{_number(number)}0"
        case AfterSequence(number):
            return f"2{_number(number)}1"
        case ShardEnd():
            return "3"
        case Latest():
            raise AssertionError("LATEST is not a checkpoint: after a restart it would mean a later record")
        case _:
            assert_never(position)


def _number(text: SequenceNumber) -> str:
    assert DIGITS.fullmatch(text), text
    digits = text.lstrip("0")
    return f"{len(digits):03}{digits}"
