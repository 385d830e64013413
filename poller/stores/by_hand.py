"""What may a person do to the stored positions? Look at them, and, with the daemon stopped, move them.

Moving is the one way back: the rows are taken away and written anew, so that what is moved to may lie anywhere.
All raise SettingsError where the file cannot be used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Position, ShardEnd, ShardId
from poller.stores.notation import place, written
from poller.stores.rows import load, starting_position
from poller.stores.sqlite_file import faults, owned, shown


class Stored(NamedTuple):
    """What the file says of one mapping. `starting_position` is the one set by hand, if any."""

    starting_position: Position | None
    checkpoints: dict[ShardId, Checkpoint]


def stored(path: Path) -> dict[MappingName, Stored]:
    """Every mapping of which there is something; a daemon may be running meanwhile."""
    with shown(path) as file, faults(path):
        if file is None:
            return {}
        with file:
            file.execute("BEGIN")
            names = file.execute("SELECT mapping FROM checkpoint UNION SELECT mapping FROM start_over").fetchall()
            return {name: Stored(starting_position(file, name), load(file, name)) for (name,) in names}


def start_over(path: Path, mapping: MappingName, position: Position) -> None:
    """Forget all of the mapping's checkpoints, and let this stand in for its starting position from now on."""
    assert not isinstance(position, ShardEnd)
    with _changing(path) as file:
        file.execute("DELETE FROM checkpoint WHERE mapping = ?", (mapping,))
        file.execute("REPLACE INTO start_over (mapping, position) VALUES (?, ?)", (mapping, written(position)))


def move_shard(path: Path, mapping: MappingName, shard_id: ShardId, position: Position) -> None:
    """Put one shard's checkpoint here, without a window; the mapping's other shards stay where they are."""
    with _changing(path) as file:
        file.execute("DELETE FROM checkpoint WHERE mapping = ? AND shard_id = ?", (mapping, shard_id))
        insert = "INSERT INTO checkpoint (mapping, shard_id, position, place) VALUES (?, ?, ?, ?)"
        file.execute(insert, (mapping, shard_id, written(position), place(position)))


@contextmanager
def _changing(path: Path) -> Iterator[sqlite3.Connection]:
    """All of it or nothing, and never beside a daemon."""
    with owned(path) as file, faults(path), file:
        file.execute("BEGIN IMMEDIATE")
        yield file
