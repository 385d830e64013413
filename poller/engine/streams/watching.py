"""What is the status of a stream mapping?

Each request computes it from the readers and the lineage. It looks at every shard, but describes only the first ones.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple

from poller.core.streams.lineage import Lineage
from poller.core.streams.trouble_first import SHARDS_SHOWN, rank
from poller.engine.streams.shard import ShardReader
from poller.model.lease import Owner
from poller.model.status import BlockedShard, ShardStatus, StreamStatus


class Seen(NamedTuple):
    """A reader, the age of its oldest record, and why its shard is blocked."""

    reader: ShardReader
    age_in_seconds: float
    blocked: BlockedShard | None

    @property
    def rank(self) -> tuple[bool, float]:
        return rank(None if self.blocked is None else self.blocked.since, self.age_in_seconds)

    def status(self, worker: Owner) -> ShardStatus:
        return self.reader.status(worker, age_in_seconds=self.age_in_seconds, blocked=self.blocked)


def stream_status(
    readers: Collection[ShardReader], lineage: Lineage | None, *, worker: Owner, now: float
) -> StreamStatus:
    """Return the status. `lineage` is None before the shards are known.

    `worker` is this process's worker, and `now` is in epoch seconds of the source's clock.
    """
    every = [Seen(reader, reader.age(now), reader.blocked) for reader in readers]
    blocked = sorted((seen.blocked for seen in every if seen.blocked is not None), key=attrgetter("since"))
    shown = nsmallest(SHARDS_SHOWN, every, key=attrgetter("rank"))
    return StreamStatus(
        iterator_age_in_seconds=max((seen.age_in_seconds for seen in every), default=None),
        unblocked_age_in_seconds=max((seen.age_in_seconds for seen in every if seen.blocked is None), default=0.0),
        checkpoint_age_in_seconds=max((reader.seconds_unstored for reader in readers), default=0.0),
        shards_reading=len(readers),
        shards_waiting=lineage.waiting if lineage is not None else 0,
        shards_drained=lineage.finished if lineage is not None else 0,
        shards_blocked=len(blocked),
        bytes_buffered=sum(reader.bytes_in_hand for reader in readers),
        blocked=tuple(blocked),
        shards=tuple(seen.status(worker) for seen in shown),
    )
