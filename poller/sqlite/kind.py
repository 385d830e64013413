"""How is a SQLite file of this program opened? It must be of the expected kind, and undamaged.

The folder of a file is never created. If the path has a typing error or is not mounted, a new empty folder would make
every mapping start over without a warning. For the same reason, a damaged file must never count as an empty one.
Only the daemon's user may read a file, with any umask, because the file may contain data of records.

The file uses WAL with synchronous=FULL, so a commit is on the disk when it returns (SQLite, "PRAGMA synchronous").
A fault of the file is a SettingsError that names the option with its path. CannotStore is for faults that may pass.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from poller.errors import CannotStore, InUse, Rejected, SettingsError, Unreachable

MODE = 0o600

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

BUSY_TIMEOUT_IN_SECONDS = 5.0
"""How long SQLite waits if another program has locked the file, for example a person with the sqlite3 shell."""

JOURNAL_SIZE_LIMIT_IN_BYTES = 16 * 1024 * 1024
"""The size to which SQLite shrinks the write-ahead log after a large write."""


class FileGone(sqlite3.DatabaseError):
    """The open file was deleted or replaced, so everything that is written into it would be lost."""


class DamagedRow(sqlite3.DatabaseError):
    """A row has a value that this program never writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file. `option` has its path as `sqlite://PATH`, and `application_id` marks it as ours.

    `advice` says what a person does about a damaged file.
    """

    option: str
    application_id: int
    advice: str

    def unusable(self, path: Path, rule: str) -> SettingsError:
        return SettingsError([f'{self.option} = "sqlite://{path}": {rule}'])

    def damage(self, path: Path, what: str) -> SettingsError:
        return self.unusable(path, f"is damaged: {what}; {self.advice}")

    def is_there(self, path: Path) -> bool:
        """Return True if the file exists. Raises SettingsError if it is a folder, or if its folder does not exist.

        A missing folder is an error because the path may have a typing error or may not be mounted.
        """
        if self.exists(path):
            if path.is_dir():
                raise self.unusable(path, "is a folder, not a file")
            return True
        if not path.parent.exists():
            raise self.unusable(path, f"the folder {path.parent} does not exist")
        return False

    def exists(self, path: Path) -> bool:
        """Return whether there is anything at the path. Raises SettingsError if the path cannot be examined."""
        try:
            return path.exists()
        except OSError as error:
            raise self.unusable(path, f"cannot be read: {error.strerror}") from error

    def descriptor(self, path: Path, file: Path, flags: int = 0) -> int:
        """Open `file`, which is the file at `path` or a file beside it. Create the file if it does not exist.

        Raises FileExistsError if the file exists and the flags contain O_EXCL.
        """
        try:
            opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, MODE)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno in NO_ROOM:
                raise no_room(path, error.strerror) from error
            self.is_there(path)
            raise self.unusable(path, f"{file.name} cannot be opened: {error.strerror}") from error
        with suppress(PermissionError):  # the file belongs to another user, who allows us to write
            os.fchmod(opened, MODE)
        return opened

    @contextmanager
    def connection(self, path: Path, mode: str) -> Iterator[sqlite3.Connection]:
        """Open a connection in autocommit mode. Different threads may use it, one at a time."""
        self._refuse_emptied(path)
        with self.faults(path):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_TIMEOUT_IN_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        with closing(connection):
            yield connection

    @contextmanager
    def reading(self, path: Path) -> Iterator[sqlite3.Connection | None]:
        """Open a connection that only reads. Yields None if there is no file.

        A file without a write-ahead log is not in use, so it is opened as immutable. Then SQLite creates no files
        beside it, and a person who may not write in its folder can read it too.
        """
        if not self.is_there(path):
            yield None
            return
        has_log = self.is_there(Path(f"{path.resolve()}-wal"))
        with self.connection(path, "ro" if has_log else "ro&immutable=1") as connection:
            yield connection

    def use_log(self, path: Path, file: sqlite3.Connection) -> None:
        """Make every commit of the connection durable, through a write-ahead log."""
        file.execute("PRAGMA synchronous = FULL")
        (mode,) = file.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise self.unusable(path, "its file system cannot hold a write-ahead log")
        file.execute(f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT_IN_BYTES}")

    def format_of(self, path: Path, file: sqlite3.Connection) -> int | None:
        """Return the number of the file's format, or None for an empty file.

        Raises SettingsError for a file of another kind. It changes nothing, so another program's file stays as it is.
        """
        (application,) = file.execute("PRAGMA application_id").fetchone()
        (found,) = file.execute("PRAGMA user_version").fetchone()
        (objects,) = file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == found == objects == 0:
            return None
        if application != self.application_id:
            raise self.unusable(path, "is a database of another program")
        assert isinstance(found, int)
        if found < 1:
            raise self.damage(path, f"its format is {found}, which no version of poller has written")
        return found

    def check_pages(self, path: Path, file: sqlite3.Connection) -> None:
        """Read every page of the file. Raises SettingsError if a page is damaged."""
        (found,) = file.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self.damage(path, found)

    @contextmanager
    def faults(self, path: Path) -> Iterator[None]:
        """Turn SQLite's errors into CannotStore for a full or failing disk, and into SettingsError otherwise.

        If another program has locked the file, raises InUse, because the lock will end: a supervisor starts the daemon
        again.
        """
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise no_room(path, str(error)) from error
            if kind == sqlite3.SQLITE_BUSY:
                raise InUse(f"{path} is in use by another program: {error}") from error
            if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self.damage(path, str(error)) from error
            raise self.unusable(path, f"cannot be used: {error}") from error

    def _refuse_emptied(self, path: Path) -> None:
        """Raise SettingsError if the file is empty but its write-ahead log is not.

        SQLite would delete this log and lose the data.
        """
        log = Path(f"{path.resolve()}-wal")
        if path.stat().st_size == 0 and log.exists() and log.stat().st_size > 0:
            raise self.damage(path, f"it is empty, but {log.name} is not")


def keep_private(path: Path) -> None:
    """Let only the daemon's user read the file and SQLite's files beside it, which a killed process may have left."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError, PermissionError):
            Path(f"{path.resolve()}{suffix}").chmod(MODE)


def no_room(path: Path, why: str | None) -> CannotStore:
    return CannotStore(f"{path} cannot be written: {why}; is its disk full?")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors while the file is open into a ServiceError, so that the engine waits and tries again.

    If another program has locked the file, the error is Unreachable, because the lock will end. Any other error is
    Rejected, because it needs a person.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", type(error).__name__)
        if code.startswith("SQLITE_BUSY"):
            raise Unreachable(f"{path}: {error}", code=code, was_sent=False) from error
        raise Rejected(f"{path}: {error}", code=code) from error


def watched(path: Path) -> Callable[[], None]:
    """Return a function that raises FileGone once the file that is at the path now has been deleted or replaced."""
    ours = _identity(path)

    def check() -> None:
        if _identity(path) != ours:
            raise FileGone(f"{path} was removed or replaced; put it back, or restart the daemon with a new file")

    return check


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
