"""What does a checkpoint look like in the file? It is one row of the table `checkpoint` (see `sqlite_file.py`)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any

import orjson

from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Latest, Position, ShardEnd, ShardId, StartingPosition, StateKey, Window
from poller.stores.notation import CheckpointMovedBack, format_position, parse_position, rank

Row = tuple[MappingName, str, ShardId, str, str, int | None, int | None, str | None]
"""Mapping, stream, shard, position and rank as in `notation.py`, and the window's start, end and state."""

SAVE = """
INSERT INTO checkpoint (mapping, stream_arn, shard_id, position, rank, window_start, window_end, window_state)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]'),
    json_extract(value, '$[7]')
FROM json_each(?) WHERE true
ON CONFLICT (mapping, stream_arn, shard_id) DO UPDATE SET position = excluded.position, rank = excluded.rank,
    saved_at = excluded.saved_at, window_start = excluded.window_start, window_end = excluded.window_end,
    window_state = excluded.window_state
"""

LOAD = """
SELECT shard_id, position, window_start, window_end, window_state FROM checkpoint WHERE mapping = ? AND stream_arn = ?
"""

DRAINED = """
SELECT shard_id, CAST(saved_at AS REAL) FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND position = ?
"""

FORGET = """
DELETE FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND shard_id IN (SELECT value FROM json_each(?))
"""

ALL = """
SELECT rank, shard_id, position, window_start, window_end, window_state FROM checkpoint
"""

BEFORE = "SELECT position FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND shard_id = ? AND rank > ?"

START_OVER = "SELECT position FROM start_over WHERE mapping = ? AND stream_arn = ?"


class DamagedRow(sqlite3.DatabaseError):
    """This program did not write the row so."""


def row_of(key: StateKey, shard_id: ShardId, checkpoint: Checkpoint) -> Row:
    position, window = checkpoint
    start, end, state = (None, None, None) if window is None else (window.start, window.end, window.state.decode())
    return *key, shard_id, format_position(position), rank(position), start, end, state


def size_in_bytes(rows: Collection[Row]) -> int:
    """Roughly; what counts are the windows' states."""
    return sum(200 + len(state or "") for *_, state in rows)


def save(file: sqlite3.Connection, rows: Collection[Row]) -> None:
    """All or none; raises sqlite3.IntegrityError where one would move back.

    It is one statement for any number of rows, so that the thread asks for the interpreter's lock once.
    """
    if rows:
        file.execute(SAVE, (orjson.dumps(rows).decode(),))


def moved_back(file: sqlite3.Connection, rows: Collection[Row]) -> CheckpointMovedBack | None:
    """The first of them that would, after a refusal."""
    for mapping, stream_arn, shard_id, position, its_rank, *_ in rows:
        if stored := file.execute(BEFORE, (mapping, stream_arn, shard_id, its_rank)).fetchone():
            return CheckpointMovedBack(
                mapping, shard_id, stored=parse_position(stored[0]), refused=parse_position(position)
            )
    return None


def load(file: sqlite3.Connection, key: StateKey) -> dict[ShardId, Checkpoint]:
    return dict(map(_checkpoint_of, file.execute(LOAD, key).fetchall()))


def drained_at(file: sqlite3.Connection, key: StateKey) -> dict[ShardId, float]:
    """When each drained shard was stored as such: its last save, as nothing is saved after a shard's end."""
    return dict(file.execute(DRAINED, (*key, format_position(ShardEnd()))).fetchall())


def forget(file: sqlite3.Connection, key: StateKey, shard_ids: Collection[ShardId]) -> None:
    file.execute(FORGET, (*key, orjson.dumps(list(shard_ids)).decode()))


def starting_position(file: sqlite3.Connection, key: StateKey) -> StartingPosition | None:
    row = file.execute(START_OVER, key).fetchone()
    return None if row is None else _starting_position_of(*key, row[0])


def check(file: sqlite3.Connection) -> None:
    """Read every row; raises DamagedRow for one that cannot be understood."""
    for its_rank, *row in file.execute(ALL):
        shard_id, checkpoint = _checkpoint_of(tuple(row))
        if its_rank != rank(checkpoint.position):
            raise DamagedRow(f"{shard_id}: {row[1]!r} does not have the rank {its_rank!r}")
    for mapping, stream_arn, position in file.execute("SELECT mapping, stream_arn, position FROM start_over"):
        _starting_position_of(mapping, stream_arn, position)


def count(file: sqlite3.Connection) -> int:
    """How many checkpoints there are."""
    (number,) = file.execute("SELECT count(*) FROM checkpoint").fetchone()
    assert isinstance(number, int)
    return number


def _starting_position_of(mapping: str, stream_arn: str, text: Any) -> StartingPosition:
    whose = f"{mapping}, {stream_arn}"
    position = _position_of(whose, text)
    if not isinstance(position, StartingPosition):
        raise DamagedRow(f"{whose}: {text!r} is not a starting position")
    return position


def _checkpoint_of(row: tuple[Any, ...]) -> tuple[ShardId, Checkpoint]:
    shard_id, text, start, end, state = row
    position = _position_of(shard_id, text)
    if isinstance(position, Latest):
        raise DamagedRow(f"{shard_id}: LATEST is not a checkpoint")
    window = None
    if (start, end, state) != (None, None, None):
        if not (isinstance(start, int) and isinstance(end, int) and _is_json(state)):
            raise DamagedRow(f"{shard_id}: the window is not whole")
        window = Window(start=start, end=end, state=state.encode())
    return ShardId(shard_id), Checkpoint(position, window)


def _position_of(whose: str, text: Any) -> Position:
    try:
        return parse_position(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedRow(f"{whose}: {str(text)[:100]!r} is not a position") from error


def _is_json(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:  # also for half of a surrogate pair, which the slower parser accepts
        try:
            json.loads(text)
        except ValueError:
            return False
    return True
