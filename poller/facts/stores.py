"""What happens to the positions of a stream's shards?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import MappingName

CODE = Label("code", ("FileGone", "SQLITE_BUSY", "SQLITE_CORRUPT", "SQLITE_FULL", "SQLITE_IOERR"), is_open=True)


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("mapping", CODE)),
    Line("warning", once_per=("mapping", CODE)),
    Counter(
        "poller_store_errors_total",
        "Reads and writes of the state file that failed.",
        of="stream",
        labels=(CODE,),
    ).by(1),
)
class StoreFailed(NamedTuple):
    """The mapping could not read or write the state file. It tries again in `retry_in_seconds`. If `needs_action` is
    true, waiting will hardly help, so a person should act.

    `detail` names the file.
    """

    mapping: MappingName
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool = False


@declare(Line("info"))
class StoreRecovered(NamedTuple):
    """The mapping can read and write the state file again."""

    mapping: MappingName


@declare(
    Line("error"),
    Counter(
        "poller_positions_trimmed_total",
        "Times that a shard resumed at TRIM_HORIZON, because its position had left the stream. Records may be lost.",
        of="stream",
    ).by(1),
)
class PositionTrimmed(NamedTuple):
    """The stream no longer has the records at a shard's position, so the shard resumes at TRIM_HORIZON. Records may be
    lost.

    The mapping was too slow: records between its position and the oldest record of the stream are not delivered.
    """

    mapping: MappingName
    shard: str


@declare(Line("warning"))
class ShardLost(NamedTuple):
    """Another process stored a position of a shard that this mapping reads. The mapping stops reading the shard until
    it restarts.
    """

    mapping: MappingName
    shard: str


@declare(Line("error"))
class CheckpointsLost(NamedTuple):
    """The mapping stopped without storing the checkpoints of some shards, so it will deliver their last records again.

    `shards` is the number of these shards.
    """

    mapping: MappingName
    shards: int
