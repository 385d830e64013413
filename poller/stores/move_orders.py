"""How does a daemon show and move the stored positions of a mapping that it has paused? As `poller state set` does.

    listed()    returns the positions, and their version
    ordered()   makes a move, or only shows its effect
    told()      returns positions as the log names those before a move

The version changes with each write of a worker or a person. So a person who has seen one version does not move the
positions of another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from poller.core.streams.written_positions import NoPosition, in_words
from poller.errors import CannotChange
from poller.model.lease import Row
from poller.model.move import Moved, MoveOrder, ShardPosition, StoredPositions
from poller.model.stream import ShardId, StateKey
from poller.stores.lease_by_hand import NOTHING, Hand, Stored, grouped, mapping_of, saved_at
from poller.stores.moving import planned
from poller.stores.owners import label

SHARDS_LISTED = 1000
"""The most shards whose positions are listed. Further shards are only counted."""

POSITIONS_TOLD = 3
"""The most shards whose positions a log line names as those before a move."""


async def ordered(hand: Hand, key: StateKey, order: MoveOrder, *, now: float, kcl_table: str | None = None) -> Moved:
    """Make the move that a person has ordered, or only show it. `now` is in epoch seconds.

    `kcl_table` is the table of KCL that has the positions, or None.

    Raises CannotChange if the position cannot be used, or if the person has seen other positions; InUse if a worker
    reads the mapping or has just changed it; and a ServiceError if the state does not answer.
    """
    if not order.only_shows:
        await hand.refuse_while_read(key.mapping)
    version = _version(hand.rows, key)
    if order.version not in (None, version):
        raise CannotChange("nothing was changed: the positions have changed since you have seen them, so look again")
    stored = grouped(hand.rows).get(key, NOTHING)
    try:
        move = planned(key, stored, order.to, shard=order.shard_id, is_after=order.is_after, now=now)
    except NoPosition as error:
        raise CannotChange(str(error)) from None
    if not order.only_shows:
        await move.make(hand, kcl_table=kcl_table)
    _, *effect = move.sentences()
    return Moved(move.shard_id, told(move.before), in_words(move.position), " ".join(effect), version)


def listed(rows: Iterable[Row], key: StateKey) -> StoredPositions:
    """Return the positions that a person may move, as they are in these rows of the whole state."""
    rows = list(rows)
    by_hand, shards, _ = grouped(rows).get(key, NOTHING)
    return StoredPositions(
        key.stream_arn,
        None if by_hand is None else in_words(by_hand),
        tuple(_shard(shard_id, row) for shard_id, row in sorted(shards.items())[:SHARDS_LISTED]),
        len(shards),
        _version(rows, key),
    )


def _shard(shard_id: ShardId, row: Row) -> ShardPosition:
    return ShardPosition(
        shard_id,
        None if row.checkpoint is None else in_words(row.checkpoint.position),
        saved_at(row),
        None if row.owner is None else label(row),
    )


def _version(rows: Iterable[Row], key: StateKey) -> str:
    counters = sorted((row.key, row.counter) for row in rows if mapping_of(row.key) == key.mapping)
    return hashlib.sha256(repr(counters).encode()).hexdigest()[:16]


def told(before: Stored) -> str:
    """Return stored positions for the log: those of the first shards, and the number of the others."""
    told = [f"{shard_id} {_position(row)}" for shard_id, row in sorted(before.rows.items())[:POSITIONS_TOLD]]
    if more := len(before.rows) - len(told):
        told.append(f"{more:,} more shard{'' if more == 1 else 's'}")
    if before.starting_position is not None:
        told.append(f"{'other shards' if before.rows else 'all shards'} {in_words(before.starting_position)}")
    if before.fault is not None:
        told.append(before.fault)
    return "; ".join(told) or "nothing was stored"


def _position(row: Row) -> str:
    return "without a position" if row.checkpoint is None else in_words(row.checkpoint.position)
