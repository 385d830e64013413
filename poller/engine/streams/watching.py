"""What is the status of a stream mapping?

Each request computes it from the readers and the lineage.
"""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter

from poller.core.streams.lineage import Lineage
from poller.engine.streams.shard import ShardReader
from poller.model.status import StreamStatus


def stream_status(readers: Collection[ShardReader], lineage: Lineage | None, *, now: float) -> StreamStatus:
    """Return the status. `lineage` is None before the shards are known.

    `now` is in epoch seconds of the source's clock.
    """
    blocked = sorted((one for reader in readers if (one := reader.blocked) is not None), key=attrgetter("since"))
    return StreamStatus(
        iterator_age_in_seconds=max((reader.age(now) for reader in readers), default=0.0),
        unblocked_age_in_seconds=max((reader.age(now) for reader in readers if reader.blocked is None), default=0.0),
        checkpoint_age_in_seconds=max((reader.seconds_unstored for reader in readers), default=0.0),
        shards_reading=len(readers),
        shards_waiting=lineage.waiting if lineage is not None else 0,
        shards_drained=lineage.finished if lineage is not None else 0,
        shards_blocked=len(blocked),
        bytes_buffered=sum(reader.bytes_in_hand for reader in readers),
        blocked=tuple(blocked),
    )
