"""Is the state file ours, and is it whole? How it is opened, by the daemon or by a person.

    owned(path)    for one process at a time: makes the file where there is none, and may write
    shown(path)    for reading, also while a daemon owns it

One process at a time owns it (`ownership.py`).
The folder is never made: a mistyped or unmounted path would quietly start every stream over.
For the same reason a damaged file is never taken for an empty one: an owner first reads every page and every row.

WAL with synchronous=FULL: a commit has been flushed to the disk when it returns (SQLite, "PRAGMA synchronous").
A checkpoint that would move back is refused by the file itself, whoever writes.
What is wrong with the file is a SettingsError that names `daemon.state`; InUse and CannotStore may pass.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from poller.errors import SettingsError
from poller.stores.ownership import is_there, locked, no_room, refusal
from poller.stores.rows import check

APPLICATION_ID = 0x506F6C6C
"""Marks the file as ours: "Poll"."""

SCHEMA_VERSION = 2

BUSY_TIMEOUT_IN_SECONDS = 5.0
"""How long to wait for a person's own transaction on the file."""

JOURNAL_SIZE_LIMIT_IN_BYTES = 16 * 1024 * 1024
"""What the write-ahead log shrinks back to after a large write."""

NOW = "CAST(strftime('%s', 'now') AS INTEGER)"
"""Epoch seconds, as every SQLite can tell them."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE checkpoint (
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    shard_id TEXT NOT NULL,
    position TEXT NOT NULL,
    place TEXT NOT NULL,        -- sorts as the positions do
    window_start INTEGER,
    window_end INTEGER,
    window_state TEXT,
    saved_at INTEGER NOT NULL DEFAULT ({NOW}),
    PRIMARY KEY (mapping, stream_arn, shard_id),
    CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NULL) = (window_state IS NULL))
) WITHOUT ROWID;
CREATE TRIGGER checkpoint_never_moves_back BEFORE UPDATE ON checkpoint WHEN new.place < old.place
    BEGIN SELECT RAISE(ABORT, 'the checkpoint would move back'); END;
CREATE TABLE start_over (       -- by hand, in place of the mapping's starting_position
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (mapping, stream_arn)
) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


WHAT_TO_DO = (
    "restore a copy of it, or move it away together with its -wal and -shm files: then each stream begins at its "
    "starting_position"
)


class FileGone(sqlite3.DatabaseError):
    """What is written goes into a file that nobody will find again."""


def watched(path: Path) -> Callable[[], None]:
    """What raises FileGone once another file, or none, lies where this one lay."""
    ours = _identity(path)

    def check() -> None:
        if _identity(path) != ours:
            raise FileGone(f"{path} was removed or replaced; put it back, or stop the daemon and begin anew")

    return check


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def owned(path: Path) -> Iterator[sqlite3.Connection]:
    """The file for this process alone, in autocommit; raises SettingsError, InUse or CannotStore."""
    with locked(path), _connection(path, "rw") as connection:
        with faults(path):
            is_new = _is_new(path, connection)
            connection.execute("PRAGMA synchronous = FULL")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise refusal(path, "its file system cannot hold a write-ahead log")
            connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_IN_BYTES}")
            if is_new:
                connection.executescript(SCHEMA)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file is ours even without its log
            else:
                _check_whole(path, connection)
        yield connection


@contextmanager
def shown(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The file for reading; None where nothing was stored yet.

    Without a write-ahead log nobody uses the file, and it is read as it lies: so nothing is made beside it, and he who
    may not write there may still look.
    """
    if not is_there(path):
        yield None
        return
    has_log = is_there(Path(f"{path.resolve()}-wal"))
    with _connection(path, "ro" if has_log else "ro&immutable=1") as connection:
        with faults(path):
            is_new = _is_new(path, connection)
        yield None if is_new else connection


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """One thread at a time may use it, not always the same."""
    _refuse_emptied(path)
    with faults(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_IN_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
    with closing(connection):
        yield connection


def _refuse_emptied(path: Path) -> None:
    """SQLite would delete the log of an empty file, and start empty."""
    log = Path(f"{path.resolve()}-wal")
    if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise _damage(path, f"it is empty, but {log.name} is not")


def _is_new(path: Path, connection: sqlite3.Connection) -> bool:
    """True for an empty file; asked before anything is written, so that a foreign file stays as it is."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == version == objects == 0:
        return True
    if application != APPLICATION_ID:
        raise refusal(path, "is a database of another program")
    if version != SCHEMA_VERSION:
        raise refusal(path, f"was written by another version of poller (its format is {version}, not {SCHEMA_VERSION})")
    return False


def _check_whole(path: Path, connection: sqlite3.Connection) -> None:
    """Read every page and every row."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damage(path, found)
    check(connection)


@contextmanager
def faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise no_room(path, str(error)) from error
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _damage(path, str(error)) from error
        raise refusal(path, f"cannot be used: {error}") from error


def _damage(path: Path, what: str) -> SettingsError:
    return refusal(path, f"is damaged: {what}; {WHAT_TO_DO}")
