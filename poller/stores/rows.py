"""How is a checkpoint stored in the file? It is one row of the table `checkpoint` (`schema.py`)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import Any

import orjson

from poller.core.streams.notation import format_position, parse_position
from poller.model.ids import MappingName
from poller.model.stream import (
    Checkpoint,
    Claim,
    Latest,
    Position,
    ShardId,
    StartingPosition,
    StateKey,
    StoredCheckpoint,
    Window,
    WriterId,
)
from poller.sqlite.kind import DamagedRow
from poller.stores.notation import CheckpointMovedBack, rank

Row = tuple[MappingName, str, ShardId, str, str, int | None, int | None, str | None, int, WriterId]
"""Mapping, stream, shard; position and rank (`notation.py`); start, end and state of the window; version, writer."""

RowKey = tuple[str, str, str]
"""Mapping, stream and shard."""

SAVE = """
WITH new AS (
    SELECT json_extract(value, '$[0]') AS mapping, json_extract(value, '$[1]') AS stream_arn,
        json_extract(value, '$[2]') AS shard_id, json_extract(value, '$[3]') AS position,
        json_extract(value, '$[4]') AS rank, json_extract(value, '$[5]') AS window_start,
        json_extract(value, '$[6]') AS window_end, json_extract(value, '$[7]') AS window_state,
        json_extract(value, '$[8]') AS version, json_extract(value, '$[9]') AS writer
    FROM json_each(?)
)
INSERT INTO checkpoint (mapping, stream_arn, shard_id, position, rank, window_start, window_end, window_state, version,
    writer)
SELECT * FROM new WHERE version = 1 OR EXISTS (
    SELECT 1 FROM checkpoint AS stored
    WHERE stored.mapping = new.mapping AND stored.stream_arn = new.stream_arn AND stored.shard_id = new.shard_id
)
ON CONFLICT (mapping, stream_arn, shard_id) DO UPDATE SET position = excluded.position, rank = excluded.rank,
    saved_at = excluded.saved_at, window_start = excluded.window_start, window_end = excluded.window_end,
    window_state = excluded.window_state, version = excluded.version, writer = excluded.writer
WHERE checkpoint.version = excluded.version - 1
    OR (checkpoint.version = excluded.version AND checkpoint.writer = excluded.writer)
"""
"""Stores the rows, apart from those of lost shards (`core/streams/claims.py`)."""

LOST = """
WITH new AS (
    SELECT json_extract(value, '$[0]') AS mapping, json_extract(value, '$[1]') AS stream_arn,
        json_extract(value, '$[2]') AS shard_id, json_extract(value, '$[8]') AS version,
        json_extract(value, '$[9]') AS writer
    FROM json_each(?)
)
SELECT mapping, stream_arn, shard_id FROM new WHERE (mapping, stream_arn, shard_id, version, writer) NOT IN
    (SELECT mapping, stream_arn, shard_id, version, writer FROM checkpoint)
"""

LOAD = """
SELECT shard_id, position, window_start, window_end, window_state, version, CAST(saved_at AS REAL) FROM checkpoint
WHERE mapping = ? AND stream_arn = ?
"""

FORGET = """
DELETE FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND shard_id IN (SELECT value FROM json_each(?))
"""

ALL = """
SELECT rank, shard_id, position, window_start, window_end, window_state, version, 0.0 FROM checkpoint
"""

FURTHER_ON = """
SELECT position FROM checkpoint WHERE mapping = ? AND stream_arn = ? AND shard_id = ? AND rank > ? AND version <= ?
"""

START_OVER = "SELECT position FROM start_over WHERE mapping = ? AND stream_arn = ?"


def row_of(key: StateKey, shard_id: ShardId, checkpoint: Checkpoint, claim: Claim) -> Row:
    position, window = checkpoint
    start, end, state = (None, None, None) if window is None else (window.start, window.end, window.state.decode())
    version = claim.version_of(shard_id)
    return *key, shard_id, format_position(position), rank(position), start, end, state, version, claim.writer


def size_in_bytes(rows: Collection[Row]) -> int:
    """Return about how many bytes the rows have. Only the states of windows can be large."""
    return sum(250 + len(row[7] or "") for row in rows)


def save(file: sqlite3.Connection, rows: Collection[Row]) -> Collection[RowKey]:
    """Store the rows, apart from those of lost shards, whose keys are returned.

    Raises sqlite3.IntegrityError if a checkpoint would move back, and then stores none.
    Any number of rows is stored by one statement, so that the thread has to wait for Python's global lock only once.
    """
    if not rows:
        return ()
    values, before = orjson.dumps(rows).decode(), file.total_changes
    file.execute(SAVE, (values,))
    if file.total_changes - before == len(rows):
        return ()
    return file.execute(LOST, (values,)).fetchall()


def moved_back(file: sqlite3.Connection, rows: Collection[Row]) -> CheckpointMovedBack | None:
    """Return an error for the first of these rows that would move a checkpoint back, or None if no row would.

    `rows` are those of a save that the file has refused.
    """
    for mapping, stream_arn, shard_id, position, its_rank, _, _, _, version, _ in rows:
        if stored := file.execute(FURTHER_ON, (mapping, stream_arn, shard_id, its_rank, version)).fetchone():
            before = parse_position(stored[0])
            return CheckpointMovedBack(f"{mapping}, {shard_id}", stored=before, refused=parse_position(position))
    return None


def load(file: sqlite3.Connection, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
    return dict(map(_stored_of, file.execute(LOAD, key).fetchall()))


def forget(file: sqlite3.Connection, key: StateKey, shard_ids: Collection[ShardId]) -> None:
    file.execute(FORGET, (*key, orjson.dumps(list(shard_ids)).decode()))


def starting_position(file: sqlite3.Connection, key: StateKey) -> StartingPosition | None:
    row = file.execute(START_OVER, key).fetchone()
    return None if row is None else _starting_position_of(*key, row[0])


def check(file: sqlite3.Connection) -> None:
    """Read every row. Raises DamagedRow for a row that this program cannot have written."""
    for its_rank, *row in file.execute(ALL):
        shard_id, stored = _stored_of(tuple(row))
        if its_rank != rank(stored.checkpoint.position):
            raise DamagedRow(f"{shard_id}: {row[1]!r} does not have the rank {its_rank!r}")
    for mapping, stream_arn, position in file.execute("SELECT mapping, stream_arn, position FROM start_over"):
        _starting_position_of(mapping, stream_arn, position)


def count(file: sqlite3.Connection) -> int:
    """Return how many checkpoints the file has."""
    (number,) = file.execute("SELECT count(*) FROM checkpoint").fetchone()
    assert isinstance(number, int)
    return number


def _starting_position_of(mapping: str, stream_arn: str, text: Any) -> StartingPosition:
    whose = f"{mapping}, {stream_arn}"
    position = position_of(whose, text)
    if not isinstance(position, StartingPosition):
        raise DamagedRow(f"{whose}: {text!r} is not a starting position")
    return position


def _stored_of(row: tuple[Any, ...]) -> tuple[ShardId, StoredCheckpoint]:
    shard_id, text, start, end, state, version, saved_at = row
    position = position_of(shard_id, text)
    if isinstance(position, Latest):
        raise DamagedRow(f"{shard_id}: LATEST is not a checkpoint")
    window = window_of(shard_id, start, end, state)
    if not (isinstance(version, int) and version > 0):
        raise DamagedRow(f"{shard_id}: {version!r} is not a version")
    return ShardId(shard_id), StoredCheckpoint(Checkpoint(position, window), version, saved_at)


def window_of(whose: str, start: Any, end: Any, state: Any) -> Window | None:
    """Return the window with these stored values, or None if all are None. Raises DamagedRow for any other values."""
    if (start, end, state) == (None, None, None):
        return None
    if not (isinstance(start, int) and isinstance(end, int) and _is_json(state)):
        raise DamagedRow(f"{whose}: the window is not whole")
    return Window(start=start, end=end, state=state.encode())


def position_of(whose: str, text: Any) -> Position:
    """Parse a stored position. Raises DamagedRow if the text is none."""
    try:
        return parse_position(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedRow(f"{whose}: {str(text)[:100]!r} is not a position") from error


def _is_json(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:  # orjson rejects half of a surrogate pair, which json accepts
        try:
            json.loads(text)
        except ValueError:
            return False
    return True
