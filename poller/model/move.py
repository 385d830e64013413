"""What may a person order about the stored positions of a paused mapping? To move them, after a look at the effect."""

from __future__ import annotations

from typing import NamedTuple

from poller.model.stream import ShardId


class MoveOrder(NamedTuple):
    """An order to move a mapping, or only the shard `shard_id`, to the position that the text `to` names.

    The text is written as `core/streams/written_positions.py` says. With `is_after`, the position is after the record
    of that sequence number.
    If `only_shows` is true, nothing is moved: the person wants to see the effect.
    `version` is the version of the positions that the person has seen. If it is None, any positions are moved.
    """

    to: str
    shard_id: ShardId | None = None
    is_after: bool = False
    only_shows: bool = False
    version: str | None = None


class Moved(NamedTuple):
    """A move in words: the positions before it, the new position, and what it means for the records.

    `shard_id` is the shard that moves, or None if the whole mapping moves. `version` is the version of the positions
    before the move.
    """

    shard_id: ShardId | None
    before: str
    position: str
    effect: str
    version: str


class ShardPosition(NamedTuple):
    """The stored position of a shard in words, when it was saved (epoch seconds), and the worker that reads the shard.

    `position` is None after a person has reset the shard. `saved_at` and `reader` are None if there is none.
    """

    shard_id: ShardId
    position: str | None
    saved_at: int | None
    reader: str | None


class StoredPositions(NamedTuple):
    """The stored positions of a mapping in its stream: the first shards, and the number of all shards.

    `set_by_hand` says where shards without a position begin, if a person has set this, or is None.
    """

    stream_arn: str
    set_by_hand: str | None
    shards: tuple[ShardPosition, ...]
    shards_stored: int
    version: str
