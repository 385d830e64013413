"""What may a person order about the batch that blocks a shard? To retry, to bisect or to discard it, now.

    retry      invoke the function with the batch now, without a further wait; this counts as an attempt
    bisect     invoke the function with each half of the batch now
    discard    report the batch to the mapping's destination now; without a destination, its records are only counted

An order names the first and the last record of the batch that the person has seen. So it never concerns other records,
even if the batch has changed meanwhile.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from poller.model.stream import SequenceNumber, ShardId

Action = Literal["retry", "bisect", "discard"]
ACTIONS: tuple[Action, ...] = get_args(Action)

Ends = tuple[SequenceNumber | None, SequenceNumber | None]
"""The first and the last sequence number of a batch. Both are None if it has no records."""


class ShardOrder(NamedTuple):
    """An order about the batch with these sequence numbers.

    Both are None for the last invocation of a tumbling window, which has no records.
    """

    action: Action
    shard_id: ShardId
    start_sequence_number: SequenceNumber | None
    end_sequence_number: SequenceNumber | None

    @property
    def ends(self) -> Ends:
        return self.start_sequence_number, self.end_sequence_number
