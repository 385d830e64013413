"""Which table does a state file have that several processes share, and how is a file of the previous format migrated?

    format 3                          format 4: rows of the table `lease` (model/lease.py has the keys)
    a checkpoint                 ──>  MAPPING/STREAM_ARN/SHARD_ID    without an owner; the counter is the version
    any checkpoint of a mapping  ──>  :begun/MAPPING/STREAM_ARN
    a person's starting position ──>  :start/MAPPING/STREAM_ARN      details: {"position": "LATEST"}
    a paused mapping             ──>  :pause/MAPPING

The migration is one transaction, after a copy of the file was kept (`poller/sqlite/copies.py`).
"""

from __future__ import annotations

import sqlite3

from poller.stores.lease_rows import check
from poller.stores.schema import FORMAT as PREVIOUS_FORMAT
from poller.stores.schema import STATE

FORMAT = PREVIOUS_FORMAT + 1
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


def create(file: sqlite3.Connection) -> None:
    """Create the table in an empty file, in one transaction."""
    with file:
        file.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            file.execute(statement)
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file has its table even without its log


def migrate(file: sqlite3.Connection) -> None:
    """Migrate the file from the previous format to this one, in one transaction.

    Raises DamagedRow, and changes nothing, if this program cannot have written a row.
    """
    with file:
        file.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA + MIGRATION:
            file.execute(statement)
        check(file)
