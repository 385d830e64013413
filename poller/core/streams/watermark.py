"""How far may a shard be checkpointed?

Records are handed out in the shard's order and finish in any order, for lanes do not wait for each other.
The watermark is the end of the finished prefix: it stands just before the oldest record that is not done.

    handed out   1  2  3  4  5  6  7
    done         x  x     x  x     x      watermark: after 2; when 3 is done: after 5

Only what is not done is remembered, each with the number of the record before it; so memory is bounded by what is in
hand, however far the other lanes run ahead of a blocked one.
A record that a filter keeps out is done as it is handed out.
Records are handed out by the read, and what is asked of each is asked of all at once: it is the hot path.

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis": a checkpoint is moved when a batch is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, compress, repeat

from poller.core.streams.positions import are_in_order, number
from poller.model.stream import AfterSequence, AtSequence, Position, SequenceNumber, ShardEnd


class Watermark:
    """The watermark of one shard, from the position where reading began."""

    __slots__ = ("_before", "_has_ended", "_last", "_start")

    def __init__(self, start: Position) -> None:
        assert not isinstance(start, ShardEnd), "a drained shard is not read"
        self._start = start
        self._before: dict[SequenceNumber, SequenceNumber | None] = {}
        self._last: SequenceNumber | None = None
        self._has_ended = False

    def hand_out(self, sequence_numbers: Sequence[SequenceNumber], *, kept: Iterable[bool] = repeat(True)) -> None:
        """The next records of the shard are in hand, but for those that a filter has not kept: they are done."""
        if not sequence_numbers:
            return
        assert not self._has_ended, "a record after the shard's end"
        assert self.follows(sequence_numbers[0]), f"{sequence_numbers[0]} does not follow {self._last or self._start}"
        assert are_in_order(sequence_numbers), "records that do not follow each other"
        with_those_before = zip(sequence_numbers, chain((self._last,), sequence_numbers), strict=False)
        self._before.update(compress(with_those_before, kept))
        self._last = sequence_numbers[-1]

    def follows(self, sequence_number: SequenceNumber) -> bool:
        """Whether this can be the shard's next record, and is not one that was met before."""
        last = self._last
        if last is None:
            return number(sequence_number) >= _lowest(self._start)
        if len(sequence_number) == len(last):  # texts of one length sort as their numbers do
            return sequence_number > last
        return number(sequence_number) > number(last)

    def finish(self, sequence_numbers: Iterable[SequenceNumber]) -> None:
        """These are done: succeeded, or discarded and reported. Each once, and only what was handed out."""
        for sequence_number in sequence_numbers:
            assert sequence_number in self._before, f"{sequence_number} is not in hand"
            del self._before[sequence_number]

    def end(self) -> None:
        """The shard has no more records; it is drained when those in hand are done."""
        self._has_ended = True

    @property
    def in_hand(self) -> int:
        """How many records were handed out and are not done."""
        return len(self._before)

    @property
    def position(self) -> Position:
        """Everything before it is done. It never moves back."""
        if not self._before:
            if self._has_ended:
                return ShardEnd()
            reached = self._last
        else:
            reached = next(iter(self._before.values()))
        return self._start if reached is None else AfterSequence(reached)


def _lowest(start: Position) -> int:
    """The lowest sequence number that may be read from there."""
    match start:
        case AtSequence(sequence_number=sequence_number):
            return number(sequence_number)
        case AfterSequence(sequence_number=sequence_number):
            return number(sequence_number) + 1
    return 0
