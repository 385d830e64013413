"""Which table does the state file have, and how is a file of the previous format migrated?

    format 3                          format 4: rows of the table `lease` (model/lease.py has the keys)
    a checkpoint                 ──>  MAPPING/STREAM_ARN/SHARD_ID    without an owner; the counter is the version
    any checkpoint of a mapping  ──>  :begun/MAPPING/STREAM_ARN
    a person's starting position ──>  :start/MAPPING/STREAM_ARN      details: {"position": "LATEST"}
    a paused mapping             ──>  :pause/MAPPING

The migration checks every row, in one transaction, after a copy of the file was kept (`poller/sqlite/copies.py`).
Each version of poller migrates a file of the previous format, and refuses a file of any other format.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from poller.sqlite.copies import copy_of
from poller.sqlite.kind import Kind
from poller.stores.lease_rows import check

STATE = Kind(
    option="daemon.state",
    application_id=0x506F6C6C,  # the bytes spell "Poll"
    advice="move it away together with the files ending in -wal and -shm, and then restore a copy of it; without a "
    "copy each stream begins at its starting_position",
)
"""The advice names -wal: SQLite would write the pages of an old log into the restored copy, and so mix two files."""

FORMAT = 4
"""The number of this format; the file has it as `user_version`."""

SCHEMA = (
    """
    CREATE TABLE lease (
        key TEXT PRIMARY KEY NOT NULL,
        counter INTEGER NOT NULL,           -- every write of the row adds one
        owner TEXT,                         -- the worker that holds the lease
        token INTEGER NOT NULL,             -- the counter when this owner took the lease
        position TEXT,                      -- of the checkpoint; only a shard's row has one
        rank TEXT,                          -- the order of ranks is the order of positions
        window_start INTEGER,
        window_end INTEGER,
        window_state TEXT,
        details TEXT NOT NULL,              -- a JSON object
        CHECK ((position IS NULL) = (rank IS NULL) AND (window_start IS NULL OR position IS NOT NULL)),
        CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NULL) = (window_state IS NULL))
    ) WITHOUT ROWID
    """,
    """
    CREATE TRIGGER lease_never_moves_back BEFORE UPDATE ON lease
        WHEN old.rank IS NOT NULL AND (new.rank IS NULL OR new.rank < old.rank)
        BEGIN SELECT RAISE(ABORT, 'the checkpoint would move back'); END
    """,
    f"PRAGMA application_id = {STATE.application_id}",
    f"PRAGMA user_version = {FORMAT}",
)

MIGRATION = (
    """
    INSERT INTO lease (key, counter, token, position, rank, window_start, window_end, window_state, details)
        SELECT mapping || '/' || stream_arn || '/' || shard_id, version, 0, position, rank, window_start, window_end,
            window_state, json_object('saved_at', saved_at) FROM checkpoint
    """,
    """
    INSERT INTO lease (key, counter, token, details)
        SELECT DISTINCT ':begun/' || mapping || '/' || stream_arn, 1, 0, '{}' FROM checkpoint
    """,
    """
    INSERT INTO lease (key, counter, token, details)
        SELECT ':start/' || mapping || '/' || stream_arn, 1, 0, json_object('position', position) FROM start_over
    """,
    "INSERT INTO lease (key, counter, token, details) SELECT ':pause/' || mapping, 1, 0, '{}' FROM pause",
    "DROP TABLE checkpoint",
    "DROP TABLE start_over",
    "DROP TABLE pause",
)
"""Moves the rows of the previous format into the new table."""


def format_of(path: Path, file: sqlite3.Connection) -> int | None:
    """Return the file's format, which is this one or the previous one, or None for an empty file.

    Raises SettingsError for any other file. It changes nothing, so another program's file stays as it is.
    """
    found = STATE.format_of(path, file)
    if found is None:
        return None
    if found > FORMAT:
        raise STATE.unusable(
            path,
            f"was written by a newer version of poller (its format is {found}, not {FORMAT}): run that version, or "
            "go back: remove the files ending in -wal and -shm, then replace the file by its copy "
            f"{copy_of(path, FORMAT).name}, if there is one",
        )
    if found < FORMAT - 1:
        raise STATE.unusable(
            path,
            f"was written by a much older version of poller (its format is {found}, not {FORMAT}): first run a "
            f"version whose format is {found + 1}",
        )
    return found


def create(file: sqlite3.Connection) -> None:
    """Create the table in an empty file, in one transaction."""
    with file:
        file.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            file.execute(statement)
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so the table is in the file itself, and not only in its log


def migrate(file: sqlite3.Connection) -> None:
    """Migrate the file from the previous format to this one, in one transaction.

    Raises DamagedRow, and changes nothing, if this program cannot have written a row.
    """
    with file:
        file.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA + MIGRATION:
            file.execute(statement)
        check(file)
