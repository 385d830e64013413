"""Which process owns the state file? The process that holds two locks, until it closes the file or ends.

    poller.db-lock    a lock file beside the database; it has the owner's process id, and stays after the owner's end
    poller.db         one byte of the database itself, far beyond the end of the file

Two daemons on one file would both read every shard, so only one process may own the file.
Two locks are needed: if somebody deletes the lock file, the database's lock still holds, and if somebody replaces the
database, the lock file's lock still holds.
The database's lock belongs to the open file, not to the process, and SQLite's own locks use other bytes
(fcntl(2), "Open file description locks"). It is used on Linux only; elsewhere the lock file is the only lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poller.errors import InUse
from poller.sqlite.kind import keep_private, no_room
from poller.stores.schema import STATE

LOCKED_BYTE = 1 << 62
"""SQLite's own locks are at 1 GiB ("Database File Format", 1.4). No database is so large that it reaches this byte."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Create the database file if there is none, and hold both locks. Raises InUse, CannotStore or SettingsError.

    Open and close the database inside the block: when a process closes any descriptor of a file, it loses the locks
    that SQLite holds on that file.
    """
    lock = STATE.descriptor(path, Path(f"{path.resolve()}-lock"))
    try:
        _lock_file(path, lock)
        database = STATE.descriptor(path, path)
        try:
            _lock_database(path, database)
            _name_owner(path, lock)
            keep_private(path)
            yield
        finally:
            os.close(database)
    finally:
        os.close(lock)


def _lock_file(path: Path, lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise InUse(f"{path} is in use by another poller (process {holder})") from error
    except OSError as error:
        raise STATE.unusable(path, f"cannot be locked: {error.strerror}") from error


def _lock_database(path: Path, database: int) -> None:
    if sys.platform != "linux":
        return
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(database, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InUse(f"{path} is in use by another poller, whose lock file was removed") from error
        raise STATE.unusable(path, f"cannot be locked: {error.strerror}") from error


def _name_owner(path: Path, lock: int) -> None:
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise no_room(path, error.strerror) from error
