"""What may a person do to the stored positions?

    stored()  reads them, even while a daemon runs; stored_pauses() reads the pauses
    held()    lets a person move them, or give them to a mapping's new name; it locks the file until its block ends, so
              no daemon can run meanwhile

The file refuses to update a checkpoint to an earlier position, so a move deletes the row first and then inserts it.
Both functions raise SettingsError if the file cannot be used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from poller.core.streams.notation import format_position
from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Position, ShardId, StartingPosition, StateKey
from poller.stores.notation import rank
from poller.stores.pauses import pause, paused, resume
from poller.stores.rows import load, starting_position
from poller.stores.schema import STATE
from poller.stores.sqlite_file import owned, shown

INSERT = """
INSERT INTO checkpoint (mapping, stream_arn, shard_id, position, rank, version) VALUES (?, ?, ?, ?, ?, ?)
"""


class Stored(NamedTuple):
    """The rows of one mapping in one stream.

    `starting_position` is the one that a person has set, or None.
    `saved_at` is the time at which each shard's checkpoint was saved, in epoch seconds.
    """

    starting_position: StartingPosition | None
    checkpoints: dict[ShardId, Checkpoint]
    saved_at: dict[ShardId, int]


class Renamed(NamedTuple):
    """The result of `Hand.rename`: how many rows got the new name, and whether the mapping is paused.

    `positions` counts checkpoints of shards, and `starting_positions` those that a person has set.
    """

    positions: int
    starting_positions: int
    is_paused: bool


def stored(path: Path) -> dict[StateKey, Stored]:
    """Return all rows, sorted by mapping and stream. A daemon may run meanwhile."""
    with shown(path) as file, STATE.faults(path):
        return {} if file is None else _stored(file)


def stored_pauses(path: Path) -> frozenset[MappingName]:
    """Return the mappings that a person has paused. A daemon may run meanwhile."""
    with shown(path) as file, STATE.faults(path):
        return frozenset() if file is None else paused(file)


@contextmanager
def held(path: Path) -> Iterator[Hand]:
    """Open and lock the file for changes by a person. Raises InUse while a daemon runs, and what `owned` raises."""
    with owned(path) as file:
        yield Hand(path, file)


class Hand:
    """Changes the file for a person. Each change is one transaction."""

    def __init__(self, path: Path, file: sqlite3.Connection) -> None:
        self._path = path
        self._file = file

    def stored(self) -> dict[StateKey, Stored]:
        with STATE.faults(self._path):
            return _stored(self._file)

    def paused(self) -> frozenset[MappingName]:
        with STATE.faults(self._path):
            return paused(self._file)

    def start_over(self, key: StateKey, position: StartingPosition) -> None:
        """Delete all checkpoints of the key, and store a starting position.

        From now on the mapping uses that position in this stream instead of the one in its settings.
        """
        with self._changing() as file:
            file.execute("DELETE FROM checkpoint WHERE mapping = ? AND stream_arn = ?", key)
            replace = "REPLACE INTO start_over (mapping, stream_arn, position) VALUES (?, ?, ?)"
            file.execute(replace, (*key, format_position(position)))

    def move_shard(self, key: StateKey, shard_id: ShardId, position: Position) -> None:
        """Set the checkpoint of one shard to the position, and delete the shard's window state.

        Raises KeyError if the shard has no checkpoint.
        """
        with self._changing() as file:
            version = load(file, key)[shard_id].version + 1
            file.execute(
                "DELETE FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND shard_id = ?", (*key, shard_id)
            )
            file.execute(INSERT, (*key, shard_id, format_position(position), rank(position), version))

    def rename(self, old: MappingName, new: MappingName) -> Renamed:
        """Give all rows of the mapping `old` to the name `new`, which must have no position in the file."""
        with self._changing() as file:
            assert not any(key.mapping == new for key in _keys(file)), f"positions of {new} would be mixed with others"
            renamed = Renamed(
                positions=file.execute("UPDATE checkpoint SET mapping = ? WHERE mapping = ?", (new, old)).rowcount,
                starting_positions=file.execute(
                    "UPDATE start_over SET mapping = ? WHERE mapping = ?", (new, old)
                ).rowcount,
                is_paused=old in paused(file),
            )
            if renamed.is_paused:
                resume(file, old)
                pause(file, new)
            return renamed

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with STATE.faults(self._path), self._file as file:
            file.execute("BEGIN IMMEDIATE")
            yield file


def _stored(file: sqlite3.Connection) -> dict[StateKey, Stored]:
    with file:
        file.execute("BEGIN")
        return {key: _stored_of(file, key) for key in _keys(file)}


def _keys(file: sqlite3.Connection) -> list[StateKey]:
    query = "SELECT mapping, stream_arn FROM checkpoint UNION SELECT mapping, stream_arn FROM start_over ORDER BY 1, 2"
    return [StateKey(*row) for row in file.execute(query).fetchall()]


def _stored_of(file: sqlite3.Connection, key: StateKey) -> Stored:
    rows = load(file, key)
    return Stored(
        starting_position(file, key),
        {shard_id: row.checkpoint for shard_id, row in rows.items()},
        {shard_id: int(row.saved_at) for shard_id, row in rows.items()},
    )
