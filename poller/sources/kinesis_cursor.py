"""Where in a Kinesis shard is the next read, and is the record before it still there?

Where the record of a position has aged out, Kinesis goes to the oldest that there is, and does not say so.
So reading goes on after a record by beginning at it:

    it comes first                     it is left out, and nothing between was lost
    another comes, or the shard's end  it is gone, and what followed it may be: Trimmed
    nothing comes                      look on; an empty read is nothing unusual
    nothing comes, again and again     look on from the oldest record that there is, and leave out what is older

The last is because consumers were seen to be stuck behind a record that had aged out, always as far from the tip.

Sources: Amazon Kinesis Data Streams API Reference, "GetShardIterator"; Amazon Kinesis Data Streams Developer Guide,
"Troubleshoot Kinesis Data Streams consumers".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from poller.core.streams.positions import are_in_order, number
from poller.errors import Trimmed
from poller.model.stream import SequenceNumber, ShardId, ShardIterator, StreamRecord

EMPTY_READS = 25
"""How many empty reads in a row, behind the tip, are "again and again"; ours: five seconds of reading."""


class Cursor(NamedTuple):
    """Kinesis's iterator, and the shard's id, which answers do not say, and events do.

    `after` is the record that is still to be met, and left out.
    `empty_reads` counts those in a row, behind the tip, while looking for it.
    """

    shard_id: ShardId
    wire: str
    after: SequenceNumber | None = None
    empty_reads: int = 0

    def written(self) -> ShardIterator:
        place = f"{self.shard_id} {self.wire}"
        return ShardIterator(place if self.after is None else f"{place} {self.after} {self.empty_reads}")

    @classmethod
    def of(cls, iterator: ShardIterator) -> Cursor:
        shard_id, wire, *more = iterator.split(" ")
        if not more:
            return cls(ShardId(shard_id), wire)
        after, empty_reads = more
        return cls(ShardId(shard_id), wire, SequenceNumber(after), int(empty_reads))

    @property
    def leads_nowhere(self) -> bool:
        """Whether to look on from the oldest record; true for one read of a search."""
        return self.empty_reads == EMPTY_READS

    def fresh(self, records: list[StreamRecord]) -> list[StreamRecord]:
        """Those of a read that come after the record looked for, if any is."""
        if self.after is None:
            return records
        after = number(self.after)
        return [record for record in records if number(record.sequence_number) > after]

    def following(self, wire: str | None, records: Sequence[StreamRecord], *, is_behind: bool) -> Cursor | None:
        """The cursor after a read that found these records; `wire` is the answer's, None at the shard's end.

        Raises Trimmed when the record that is looked for will not come.
        """
        following = self._replace(wire=wire) if wire else None
        if self.after is None:
            return following
        if not are_in_order([record.sequence_number for record in records]):
            raise ValueError("the search relies on the order of the records")
        after = number(self.after)
        if (following is None and not records) or (records and number(records[0].sequence_number) > after):
            raise Trimmed(f"the record {self.after} is not in the shard any more", code="PositionTrimmed")
        if following is None:
            return None
        if not records:
            return following._replace(empty_reads=self.empty_reads + 1 if is_behind else 0)
        has_met = number(records[-1].sequence_number) >= after
        return following._replace(after=None if has_met else self.after, empty_reads=0)
