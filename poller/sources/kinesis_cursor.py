"""Where in a Kinesis shard does the next read begin, and does the record before that position still exist?

If the record of a position has expired, Kinesis reads from the oldest record and does not report the loss.
So to continue after record R, the cursor begins at R and searches for it:

    the first record is R                           skip R; no record was lost
    the first record is later, or the shard ends    raise Trimmed: R has expired, and later records may have expired too
    the read is empty                               read on; empty reads are normal in Kinesis
    25 empty reads in a row, behind the end         continue at the oldest record, and skip records up to R

The last case exists because consumers have been seen to hang at an expired record: every read was empty, and the
distance to the end of the shard never changed.

Sources: Amazon Kinesis Data Streams API Reference, "GetShardIterator"; Amazon Kinesis Data Streams Developer Guide,
"Troubleshoot Kinesis Data Streams consumers".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from poller.core.positions import are_in_order, number
from poller.errors import Trimmed
from poller.model.stream import SequenceNumber, ShardId, ShardIterator, StreamRecord

EMPTY_READS = 25
"""After this number of empty reads in a row behind the end of the shard, the search continues at the oldest record.

We chose it: it is five seconds of reading.
"""


class Cursor(NamedTuple):
    """Kinesis's iterator `wire` together with the shard's id, because events need the id and answers do not have it.

    `after` is the record that the search still has to find and skip; None when there is no search.
    `empty_reads` counts the search's empty reads in a row that are behind the end of the shard.
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
        """Return whether the search must continue at the oldest record.

        This is true once, after EMPTY_READS empty reads.
        """
        return self.empty_reads == EMPTY_READS

    def fresh(self, records: list[StreamRecord]) -> list[StreamRecord]:
        """Return the records that come after `after`, or all records if there is no search."""
        if self.after is None:
            return records
        after = number(self.after)
        return [record for record in records if number(record.sequence_number) > after]

    def following(self, wire: str | None, records: Sequence[StreamRecord], *, is_behind: bool) -> Cursor | None:
        """Return the cursor after a read that returned these records, or None at the shard's end.

        `wire` is the answer's next iterator, None at the shard's end. Raises Trimmed if the record `after` has
        expired, and ValueError if the records are not in order.
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
