"""Which process owns the state file? The process that holds two locks, until it closes the file or ends.

    poller.db-lock    a lock file beside the database; it has the owner's process id, and stays after the owner's end
    poller.db         one byte of the database itself, far beyond the end of the file

Two daemons on one file would both read every shard, so only one process may own the file.
Two locks are needed: if somebody deletes the lock file, the database's lock still holds, and if somebody replaces the
database, the lock file's lock still holds.
The database's lock belongs to the open file, not to the process, and SQLite's own locks use other bytes
(fcntl(2), "Open file description locks"). It is used on Linux only; elsewhere the lock file is the only lock.
Only the owner's user may read the files, whatever the umask, because a window's state may contain data of records.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from poller.errors import CannotStore, InUse, SettingsError

MODE = 0o600

LOCKED_BYTE = 1 << 62
"""SQLite's own locks are at 1 GiB ("Database File Format", 1.4). No database is so large that it reaches this byte."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Create the database file if there is none, and hold both locks. Raises InUse, CannotStore or SettingsError.

    Open and close the database inside the block: when a process closes any descriptor of a file, it loses the locks
    that SQLite holds on that file.
    """
    lock = _opened(path, Path(f"{path.resolve()}-lock"))
    try:
        _lock_file(path, lock)
        database = _opened(path, path)
        try:
            _lock_database(path, database)
            _name_owner(path, lock)
            for suffix in ("-wal", "-shm"):  # left by an owner that was killed
                with suppress(FileNotFoundError, PermissionError):
                    Path(f"{path.resolve()}{suffix}").chmod(MODE)
            yield
        finally:
            os.close(database)
    finally:
        os.close(lock)


def unusable(path: Path, rule: str) -> SettingsError:
    return SettingsError([f'daemon.state = "sqlite://{path}": {rule}'])


def no_room(path: Path, why: str | None) -> CannotStore:
    return CannotStore(f"{path} cannot be written: {why}; is its disk full?")


def is_there(path: Path) -> bool:
    """Return True if the file exists. Raises SettingsError if it is a folder, or if its folder does not exist.

    A missing folder is an error because the path may have a typing error or may not be mounted.
    """
    try:
        if path.is_dir():
            raise unusable(path, "is a folder, not a file")
        if path.exists():
            return True
        has_folder = path.parent.exists()
    except OSError as error:
        raise unusable(path, f"cannot be read: {error.strerror}") from error
    if not has_folder:
        raise unusable(path, f"the folder {path.parent} does not exist")
    return False


def _opened(path: Path, file: Path) -> int:
    try:
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(path, error.strerror) from error
        is_there(path)
        raise unusable(path, f"{file.name} cannot be opened: {error.strerror}") from error
    with suppress(PermissionError):  # the file belongs to another user, who allows us to write
        os.fchmod(opened, MODE)
    return opened


def _lock_file(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise InUse(f"{path} is in use by another poller (process {holder})") from error
    except OSError as error:
        raise unusable(path, f"cannot be locked: {error.strerror}") from error


def _lock_database(path: Path, database: int) -> None:
    if sys.platform != "linux":
        return
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(database, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InUse(f"{path} is in use by another poller, whose lock file was removed") from error
        raise unusable(path, f"cannot be locked: {error.strerror}") from error


def _name_owner(path: Path, lock: int) -> None:
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise no_room(path, error.strerror) from error
