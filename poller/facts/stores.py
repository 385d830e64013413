"""What happens to the positions of a stream's shards?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import MappingName
from poller.model.lease import RowKey


@declare(
    Line("error"),
    Counter(
        "poller_positions_trimmed_total",
        "Times that a shard resumed at TRIM_HORIZON, because its position had left the stream. Records may be lost.",
        of="stream",
    ).by(1),
)
class PositionTrimmed(NamedTuple):
    """The stream no longer has the records at `position` of a shard, so the shard resumes at TRIM_HORIZON. Records may
    be lost.

    The mapping was too slow: records between its position and the oldest record of the stream are not delivered.
    """

    mapping: MappingName
    shard: str
    position: str


@declare(Line("error"))
class CheckpointsLost(NamedTuple):
    """The daemon stopped without storing the checkpoints of some shards, so the last records of these shards will be
    delivered again.

    `shards` is the number of these shards, and `named` has their leases.
    """

    shards: int
    named: tuple[RowKey, ...]
