"""Whose file is it, and is it ours? How the state file is opened, by the daemon or by a person.

    owned(path)    for one process at a time: makes the file where there is none, and may write
    shown(path)    for reading, also while a daemon owns it

Two daemons on one file would both read every shard, so an owner holds a lock on a file beside it (`…-lock`).
The system takes that lock back whatever the owner dies of; the lock file itself stays, as it must.
The folder is never made: a mistyped or unmounted path would quietly start every stream over.

WAL with synchronous=FULL: a commit has been flushed to the disk when it returns (SQLite, "PRAGMA synchronous").
A checkpoint that would move back is refused by the file itself, whoever writes.
What is wrong with the file is a SettingsError that names `daemon.state`; that it is in use, InUse.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from poller.errors import InUse, SettingsError

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
    """The file for this process alone, in autocommit; raises SettingsError or InUse where it cannot be had."""
    with _lock(path), _connection(path, "rwc") as connection:
        with faults(path):
            is_new = _is_new(path, connection)
            connection.execute("PRAGMA synchronous = FULL")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise refusal(path, "its file system cannot hold a write-ahead log")
            connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_IN_BYTES}")
            if is_new:
                connection.executescript(SCHEMA)
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


def is_there(path: Path) -> bool:
    """Raises SettingsError where not even the folder is: nothing was forgotten then, it is not mounted, or mistyped."""
    try:
        if path.exists():
            return True
        has_folder = path.parent.exists()
    except OSError as error:
        raise refusal(path, f"cannot be looked at: {error.strerror}") from error
    if not has_folder:
        raise refusal(path, f"the folder {path.parent} does not exist")
    return False


def refusal(path: Path, rule: str) -> SettingsError:
    return SettingsError([f'daemon.state = "sqlite://{path}": {rule}'])


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held until it is closed, or its process is gone. It tells who holds it, for the message to the next."""
    try:
        file = os.open(f"{path.resolve()}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        is_there(path)
        raise refusal(path, f"cannot be locked: {error}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode(errors="replace").strip() or "unknown"
            raise InUse(f"{path} is in use by another poller (process {holder})") from error
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


@contextmanager
def _connection(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """One thread at a time may use it, not always the same."""
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


@contextmanager
def faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise refusal(path, f"cannot be used: {error}") from error
