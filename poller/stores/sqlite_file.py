"""How do the daemon and a person open the state file? The file must be poller's, undamaged, and of a known format.

    owned(path)    opens it for writing, for one process at a time; creates it if there is none
    shown(path)    opens it for reading, even while another process owns it

`ownership.py` makes sure that only one process owns the file.
The owner migrates a file of the previous format (`schema.py`).
The folder is never created: after a typing error, or on a path that is not mounted, every stream would start over
without a warning. For the same reason the owner first reads every page and every row: a damaged file must never count
as an empty one.

The file uses WAL with synchronous=FULL, so a commit is on the disk when it returns (SQLite, "PRAGMA synchronous").
A fault of the file is a SettingsError that names `daemon.state`. InUse and CannotStore are for faults that may pass.
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
"""How long SQLite waits if another program has locked the file, for example a person with the sqlite3 shell."""

JOURNAL_SIZE_LIMIT_IN_BYTES = 16 * 1024 * 1024
"""The size to which SQLite shrinks the write-ahead log after a large write."""

WHAT_TO_DO = (
    "move it away together with the files ending in -wal and -shm, and then restore a copy of it; without a copy each "
    "stream begins at its starting_position"
)
"""SQLite would write the pages of a log that is left (-wal) into the copy, and so mix two files."""


class FileGone(sqlite3.DatabaseError):
    """The open file was deleted or replaced, so nobody would find again what is written into it."""


def watched(path: Path) -> Callable[[], None]:
    """Return a function that raises FileGone if the file that is now at the path was deleted or replaced."""
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
    """Open the file for this process alone, in autocommit mode. Raises SettingsError, InUse or CannotStore.

    If the file is migrated from the previous format, `on_migration` gets the path of the copy that is kept.
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
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file has tables even without its log
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
    """Open the file for reading. Yields None if nothing was stored yet.

    A file of the previous format is migrated in memory, so that the file itself does not change.
    A file without a write-ahead log is not in use, so it is opened as immutable. Then SQLite creates no files beside
    it, and a person who may not write in its folder can read it too.
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
    """Open a connection. Different threads may use it, one at a time."""
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
    """Raise SettingsError if the file is empty but its log is not: SQLite would delete the log and lose the data."""
    log = Path(f"{path.resolve()}-wal")
    if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
        raise _damage(path, f"it is empty, but {log.name} is not")


def _check_pages(path: Path, connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _damage(path, found)


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into CannotStore for a full or failing disk, and into SettingsError otherwise."""
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
