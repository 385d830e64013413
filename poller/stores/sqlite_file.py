"""How is the state file opened, by the daemon or by a person? It must be ours, whole, and of a known format.

    owned(path)    for one process at a time: makes the file where there is none, and may write
    shown(path)    for reading, also while a daemon owns it

One process at a time owns it (`ownership.py`).
An owner migrates a file of the format before (`schema.py`).
The folder is never made: a mistyped or unmounted path would quietly start every stream over.
For the same reason a damaged file is never taken for an empty one: an owner first reads every page and every row.

WAL with synchronous=FULL: a commit has been flushed to the disk when it returns (SQLite, "PRAGMA synchronous").
A trigger in the file refuses a checkpoint that would move back.
A fault of the file is a SettingsError that names `daemon.state`; InUse and CannotStore may pass.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from poller.errors import SettingsError
from poller.stores.ownership import is_there, locked, no_room, unusable
from poller.stores.rows import check
from poller.stores.schema import FORMAT, SCHEMA, copy_of, format_of, keep_copy, migrate

BUSY_TIMEOUT_IN_SECONDS = 5.0
"""How long to wait for a person's own transaction on the file."""

JOURNAL_SIZE_LIMIT_IN_BYTES = 16 * 1024 * 1024
"""What the write-ahead log shrinks back to after a large write."""

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
def owned(path: Path, on_migration: Callable[[Path], None] = lambda _: None) -> Iterator[sqlite3.Connection]:
    """The file for this process alone, in autocommit; raises SettingsError, InUse or CannotStore.

    `on_migration` is told of the copy that was kept, if the file was of the format before.
    """
    with locked(path), _connection(path, "rw") as connection:
        with faults(path):
            found = format_of(path, connection)
            connection.execute("PRAGMA synchronous = FULL")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise unusable(path, "its file system cannot hold a write-ahead log")
            connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_IN_BYTES}")
            if found is None:
                connection.executescript(SCHEMA)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file is ours even without its log
            else:
                _check_pages(path, connection)
                if found == FORMAT:
                    check(connection)
                else:
                    keep_copy(path, connection, found)
                    migrate(connection)
                    on_migration(copy_of(path, found))
        yield connection


@contextmanager
def shown(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The file for reading; None where nothing was stored yet.

    A file of the format before is migrated in memory only: to look at a file changes nothing.
    A file without a write-ahead log is in use by nobody and is opened as immutable: nothing is made beside it, so
    people who may not write in its folder can look too.
    """
    if not is_there(path):
        yield None
        return
    has_log = is_there(Path(f"{path.resolve()}-wal"))
    with _connection(path, "ro" if has_log else "ro&immutable=1") as connection:
        with faults(path):
            found = format_of(path, connection)
        if found is None:
            yield None
        elif found == FORMAT:
            yield connection
        else:
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                with faults(path):
                    connection.backup(copy)
                    migrate(copy)
                yield copy


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


def _check_pages(path: Path, connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damage(path, found)


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
        raise unusable(path, f"cannot be used: {error}") from error


def _damage(path: Path, what: str) -> SettingsError:
    return unusable(path, f"is damaged: {what}; {WHAT_TO_DO}")
