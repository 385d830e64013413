"""Which tables does the state file have, and how is a file of the previous format migrated?

The migration checks every row, in one transaction, after a copy of the file was kept (`poller/sqlite/copies.py`).
Each version of poller migrates a file of the previous format, and refuses a file of any other format.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from poller.sqlite.copies import copy_of
from poller.sqlite.kind import Kind
from poller.stores.rows import check

STATE = Kind(
    option="daemon.state",
    application_id=0x506F6C6C,  # the bytes spell "Poll"
    advice="move it away together with the files ending in -wal and -shm, and then restore a copy of it; without a "
    "copy each stream begins at its starting_position",
)
"""SQLite would write the pages of a log that is left (-wal) into the copy, and so mix two files."""

FORMAT = 3
"""The number of this format; the file has it as `user_version`."""

NOW = "CAST(strftime('%s', 'now') AS INTEGER)"
"""The time in epoch seconds, by a function that every version of SQLite has."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE checkpoint (
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    shard_id TEXT NOT NULL,
    position TEXT NOT NULL,
    rank TEXT NOT NULL,         -- the order of ranks is the order of positions
    window_start INTEGER,
    window_end INTEGER,
    window_state TEXT,
    saved_at INTEGER NOT NULL DEFAULT ({NOW}),
    version INTEGER NOT NULL DEFAULT 1,     -- the same for all saves of one writer, larger for the next writer
    writer TEXT NOT NULL DEFAULT '',        -- the run that saved the row last; empty after a person's change
    PRIMARY KEY (mapping, stream_arn, shard_id),
    CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NULL) = (window_state IS NULL))
) WITHOUT ROWID;
CREATE TRIGGER checkpoint_never_moves_back BEFORE UPDATE ON checkpoint WHEN new.rank < old.rank
    BEGIN SELECT RAISE(ABORT, 'the checkpoint would move back'); END;
CREATE TABLE start_over (       -- positions that a person has set; a mapping uses them instead of starting_position
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (mapping, stream_arn)
) WITHOUT ROWID;
CREATE TABLE pause (            -- the mappings that are paused
    mapping TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = {STATE.application_id};
PRAGMA user_version = {FORMAT};
COMMIT;
"""

MIGRATION = """
ALTER TABLE checkpoint RENAME COLUMN place TO rank;
ALTER TABLE checkpoint ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE checkpoint ADD COLUMN writer TEXT NOT NULL DEFAULT '';
CREATE TABLE pause (mapping TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID;
"""
"""Changes a file of the previous format to this one."""


def format_of(path: Path, file: sqlite3.Connection, expected: int = FORMAT) -> int | None:
    """Return the file's format, which is the expected one or the previous one, or None for an empty file.

    Raises SettingsError for any other file. It changes nothing, so another program's file stays as it is.
    """
    found = STATE.format_of(path, file)
    if found is None:
        return None
    if found > expected:
        raise STATE.unusable(
            path,
            f"was written by a newer version of poller (its format is {found}, not {expected}): run that version, or "
            f"put back the copy that it kept before its change, {copy_of(path, expected).name}, if there is one: first "
            "remove the files ending in -wal and -shm",
        )
    if found < expected - 1:
        raise STATE.unusable(
            path,
            f"was written by a much older version of poller (its format is {found}, not {expected}): first run a "
            f"version whose format is {found + 1}",
        )
    return found


def migrate(file: sqlite3.Connection) -> None:
    """Migrate the file from the previous format to this one, in one transaction.

    Raises DamagedRow, and changes nothing, if this program cannot have written a row.
    """
    with file:
        file.execute("BEGIN IMMEDIATE")
        for statement in MIGRATION.strip().split("\n"):
            file.execute(statement)
        check(file)
        file.execute(f"PRAGMA user_version = {FORMAT}")
