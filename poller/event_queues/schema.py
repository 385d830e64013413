"""Which tables does the file of events have, and how do several processes open it?

Each process holds a lock on a file beside it. The first process locks it alone and creates the tables, while the others
wait; then all processes share the lock until they end.
A process that finds no other process ends all claims: the processes that made them are dead, so their events need not
wait for the ends of the claims.
A file of an earlier format is migrated, in one transaction, by a process that finds no other process. A copy of it is
kept before (`poller/sqlite/copies.py`). A file of a later format is refused.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from poller.sqlite.copies import copy_of, keep_copy
from poller.sqlite.kind import Kind, keep_private

EVENTS = Kind(
    option="daemon.event_queue",
    application_id=0x506F6576,  # the bytes spell "Poev"
    advice="move it away together with the files ending in -wal and -shm; the events in it are lost unless you can "
    "restore a copy",
)

FIRST_FORMAT = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        function TEXT NOT NULL,
        request_id TEXT NOT NULL,
        accepted_at INTEGER NOT NULL,       -- times are in microseconds since the epoch
        due_at INTEGER NOT NULL,
        free_at INTEGER NOT NULL,           -- the deadline of the claim, or due_at without a claim
        claim TEXT NOT NULL,                -- empty without a claim
        attempts INTEGER NOT NULL,
        postponements INTEGER NOT NULL,
        stuck TEXT NOT NULL,
        rest TEXT NOT NULL                  -- JSON (notation.py)
    )
    """,
    # `depth` reads only this index, because a scan of the table would take several times as long.
    "CREATE INDEX event_by_function ON event (function, stuck, free_at, due_at, accepted_at)",
    # The payload has a table of its own, so that a claim does not write it again.
    "CREATE TABLE payload (id INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
    """
    CREATE TRIGGER payload_of_a_removed_event AFTER DELETE ON event
        BEGIN DELETE FROM payload WHERE id = old.id; END
    """,
    f"PRAGMA application_id = {EVENTS.application_id}",
)

WITH_SIZES = (
    "ALTER TABLE event ADD COLUMN size INTEGER NOT NULL DEFAULT 0",  # about the bytes of the payload and of `rest`
    """
    UPDATE event SET size =
        length(rest) + coalesce((SELECT length(payload) FROM payload WHERE payload.id = event.id), 0)
    """,
    "DROP INDEX event_by_function",
    # A take adds up the sizes before it reads a row, so the index has them.
    "CREATE INDEX event_by_function ON event (function, stuck, free_at, due_at, accepted_at, size)",
)

WITH_SQS_QUEUES = (
    """
    CREATE TABLE sqs_queue (    -- the SQS queues that have, or had, the events of functions
        arn TEXT PRIMARY KEY NOT NULL,
        function TEXT NOT NULL,
        role_arn TEXT           -- NULL for the daemon's own credentials
    ) WITHOUT ROWID
    """,
)

WITHOUT_ROLES = (  # no version had an option for `role_arn`; SQLite drops a column only from version 3.35 on
    """
    CREATE TABLE queue (        -- the SQS queues that have, or had, the events of functions
        arn TEXT PRIMARY KEY NOT NULL,
        function TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "INSERT INTO queue SELECT arn, function FROM sqs_queue",
    "DROP TABLE sqs_queue",
    "ALTER TABLE queue RENAME TO sqs_queue",
)

STEPS = (FIRST_FORMAT, WITH_SIZES, WITH_SQS_QUEUES, WITHOUT_ROLES)
"""The statements that lead from each format to the next one. The first step begins with an empty file."""

FORMAT = len(STEPS)
"""The number of this format. The file stores it as `user_version`."""

END_CLAIMS = "UPDATE event SET claim = '', free_at = due_at WHERE claim != ''"


@contextmanager
def shared(path: Path, on_migration: Callable[[Path], None] = lambda _: None) -> Iterator[sqlite3.Connection]:
    """Open the file for this process and others. Create it if there is none. Raises SettingsError or CannotStore.

    If this process migrates the file from an earlier format, `on_migration` gets the path of the copy that is kept.
    """
    with ExitStack() as stack:
        lock = EVENTS.descriptor(path, Path(f"{path.resolve()}-lock"))
        stack.callback(os.close, lock)
        is_alone = _is_alone(lock)
        _create(path)
        file = stack.enter_context(EVENTS.connection(path, "rw"))
        with EVENTS.faults(path):
            while (found := _format_of(path, file)) is None and not is_alone:
                fcntl.flock(lock, fcntl.LOCK_UN)  # the process that had to create the tables has died
                is_alone = _is_alone(lock)
            if found not in (None, FORMAT) and not is_alone:
                raise EVENTS.unusable(path, "an older version of poller still uses it: stop that one first")
            EVENTS.use_log(path, file)
            file.execute("PRAGMA temp_store = MEMORY")  # for the copy that VACUUM makes of a small file
            if found is None:
                _migrate(file, 0)
            elif found != FORMAT:
                keep_copy(EVENTS, path, file, found)
                _migrate(file, found)
                on_migration(copy_of(path, found))
            if found is not None and is_alone:
                file.execute(END_CLAIMS)
        fcntl.flock(lock, fcntl.LOCK_SH)
        if found is not None:
            with EVENTS.faults(path):
                EVENTS.check_pages(path, file)
        yield file


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the file for reading. Yields None if no event was ever stored. Raises SettingsError."""
    with EVENTS.reading(path) as file:
        with EVENTS.faults(path):
            has_tables = file is not None and _has_tables(path, file)
        yield file if has_tables else None


@contextmanager
def changing(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the file for a person's changes. Yields None if no event was ever stored. Raises SettingsError."""
    if not EVENTS.is_there(path):
        yield None
        return
    with EVENTS.connection(path, "rw") as file:
        with EVENTS.faults(path):
            has_tables = _has_tables(path, file)
            if has_tables:
                EVENTS.use_log(path, file)
        yield file if has_tables else None


def _has_tables(path: Path, file: sqlite3.Connection) -> bool:
    found = _format_of(path, file)
    if found not in (None, FORMAT):
        rule = f"was written by an older version of poller (its format is {found}, not {FORMAT})"
        raise EVENTS.unusable(path, f"{rule}: start the daemon, which migrates it")
    return found is not None


def _format_of(path: Path, file: sqlite3.Connection) -> int | None:
    """Return the format of the file, or None if the file is empty. Raises SettingsError for a later format."""
    found = EVENTS.format_of(path, file)
    if found is not None and found > FORMAT:
        raise EVENTS.unusable(
            path,
            f"was written by a newer version of poller (its format is {found}, not {FORMAT}): run that version until "
            "its events have ended, or go back: remove the files ending in -wal and -shm, then replace the file by its "
            f"copy {copy_of(path, FORMAT).name}, if there is one; events that have ended since the copy was made are "
            "invoked again, and events that were accepted since then are lost",
        )
    return found


def _migrate(file: sqlite3.Connection, found: int) -> None:
    """Bring the file from the format `found` to this format, in one transaction. 0 is the format of an empty file."""
    with file:
        file.execute("BEGIN IMMEDIATE")
        for step in STEPS[found:]:
            for statement in step:
                file.execute(statement)
        file.execute(f"PRAGMA user_version = {FORMAT}")
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so the tables are in the file itself, and not only in its log


def _create(path: Path) -> None:
    """Create an empty file if there is none.

    Never open an existing file here: when a process closes any descriptor of a file, it loses all locks that SQLite
    holds on that file, also the locks of other connections.
    """
    with suppress(FileExistsError):
        os.close(EVENTS.descriptor(path, path, os.O_EXCL))
    EVENTS.is_there(path)
    keep_private(path)


def _is_alone(lock: int) -> bool:
    """Lock the file. Return True if no other process uses it. Wait while another process creates the tables."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(lock, fcntl.LOCK_SH)
        return False
    return True
