"""Up to which record may a shard be checkpointed?

Records go to the lanes in the shard's order and finish in any order, because lanes do not wait for each other.
The watermark is the end of the finished prefix, just before the oldest record that is not done.

    handed out   1  2  3  4  5  6  7
    done         x  x     x  x     x      watermark: after 2; when 3 is done: after 5

Only the records that are not done are remembered, each with the sequence number of the record before it. So memory is
bounded by the records in hand, however far other lanes are ahead of a blocked lane.
A record that does not match a filter is done at once.
All records of one read are handed out in one call, because this code runs for every record.

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis": a checkpoint is moved when a batch is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress, repeat

from poller.core.positions import are_in_order, number
from poller.model.stream import AfterSequence, AtSequence, Position, SequenceNumber, ShardEnd


class Watermark:
    """The watermark of one shard. It begins at `start`, the position at which reading began."""

    __slots__ = ("_before", "_has_ended", "_last", "_start")

    def __init__(self, start: Position) -> None:
        assert not isinstance(start, ShardEnd), "a drained shard is not read"
        self._start = start
        self._before: dict[SequenceNumber, SequenceNumber | None] = {}
        self._last: SequenceNumber | None = None
        self._has_ended = False

    def hand_out(self, sequence_numbers: Sequence[SequenceNumber], *, kept: Iterable[bool] = repeat(True)) -> None:
        """Note that the next records of the shard are in hand. Those with a false value in `kept` are done already."""
        if not sequence_numbers:
            return
        assert not self._has_ended, "a record after the shard's end"
        assert self.follows(sequence_numbers[0]), f"{sequence_numbers[0]} does not follow {self._last or self._start}"
        assert are_in_order(sequence_numbers), "records that do not follow each other"
        with_those_before = zip(sequence_numbers, chain((self._last,), sequence_numbers), strict=False)
        self._before.update(compress(with_those_before, kept))
        self._last = sequence_numbers[-1]

    def follows(self, sequence_number: SequenceNumber) -> bool:
        """Return whether this can be the shard's next record: it comes after every record that was handed out."""
        last = self._last
        if last is None:
            return number(sequence_number) >= _lowest(self._start)
        if len(sequence_number) == len(last):  # texts of equal length sort like their numbers
            return sequence_number > last
        return number(sequence_number) > number(last)

    def finish(self, sequence_numbers: Iterable[SequenceNumber]) -> None:
        """Note that these records are done: they succeeded, or were discarded and reported.

        Each record must be in hand, and may finish only once.
        """
        for sequence_number in sequence_numbers:
            assert sequence_number in self._before, f"{sequence_number} is not in hand"
            del self._before[sequence_number]

    def end(self) -> None:
        """Note that the shard has no more records. It is drained once the records in hand are done."""
        self._has_ended = True

    @property
    def in_hand(self) -> int:
        """Return how many records were handed out and are not done."""
        return len(self._before)

    @property
    def position(self) -> Position:
        """Return the watermark: every record before it is done. It never moves backwards."""
        if not self._before:
            if self._has_ended:
                return ShardEnd()
            reached = self._last
        else:
            reached = next(iter(self._before.values()))
        return self._start if reached is None else AfterSequence(reached)


def _lowest(start: Position) -> int:
    """Return the lowest sequence number that a record can have if it is read from this position."""
    match start:
        case AtSequence(sequence_number=sequence_number):
            return number(sequence_number)
        case AfterSequence(sequence_number=sequence_number):
            return number(sequence_number) + 1
    return 0
