"""Which processes may use the state file? Those that hold two locks, until they close the file or end.

    poller.db-lock    a lock file beside the database; it has the process id of a process that is alone, and is empty
                      while several processes share the file
    poller.db         one byte of the database itself, far beyond the end of the file

The first process is alone until it lets the others in. An older daemon, which knows nothing of leases, stays alone.

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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from poller.errors import InUse
from poller.sqlite.kind import keep_private, no_room
from poller.stores.schema import STATE

LOCKED_BYTE = 1 << 62
"""SQLite's own locks are at 1 GiB ("Database File Format", 1.4). No database is so large that it reaches this byte."""

PATIENCE_IN_SECONDS = 10.0
PAUSE_IN_SECONDS = 0.02
"""How long a process waits for another one that prepares the file, and how long between two tries. We chose both."""


@contextmanager
def sharing(path: Path) -> Iterator[Share]:
    """Create the database file if there is none, and hold both locks together with other processes.

    Waits until another process that is alone has let others in. Raises InUse if that takes too long, and otherwise
    CannotStore or SettingsError.
    Open and close the database inside the block: when a process closes any descriptor of a file, it loses the locks
    that SQLite holds on that file.
    """
    lock = STATE.descriptor(path, Path(f"{path.resolve()}-lock"))
    try:
        database = STATE.descriptor(path, path)
        try:
            share = Share(path, lock, database)
            keep_private(path)
            yield share
        finally:
            os.close(database)
    finally:
        os.close(lock)


class Share:
    """The locks of a process that shares the file. If it `is_alone`, others wait until it calls `let_others_in`."""

    def __init__(self, path: Path, lock: int, database: int) -> None:
        self._path = path
        self._lock = lock
        self._database = database
        self.is_alone = self._wait()
        if self.is_alone:
            _name_owner(path, lock, f"{os.getpid()}\n")

    def let_others_in(self) -> None:
        """Keep the locks, but let other processes share them. Does nothing if they do already.

        The lock of the lock file is changed first. The system changes a lock by releasing it and taking it again
        (flock(2)). In between, the database's lock still keeps other processes out.
        """
        if self.is_alone:
            _name_owner(self._path, self._lock, "")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            _lock_database(self._path, self._database, fcntl.F_RDLCK)
            self.is_alone = False

    def _wait(self) -> bool:
        """Take the locks. Return True if no other process has them."""
        until = time.monotonic() + PATIENCE_IN_SECONDS
        while True:
            try:
                return self._is_alone()
            except InUse:
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # a process that waits must not keep another from being alone
                if time.monotonic() >= until:
                    raise
            time.sleep(PAUSE_IN_SECONDS)

    def _is_alone(self) -> bool:
        with suppress(InUse):
            _lock_file(self._path, self._lock)
            _lock_database(self._path, self._database)
            return True
        _lock_file(self._path, self._lock, fcntl.LOCK_SH)
        _lock_database(self._path, self._database, fcntl.F_RDLCK)
        return False


def _lock_file(path: Path, lock: int, kind: int = fcntl.LOCK_EX) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(lock, 20, 0).decode(errors="replace").strip()
        raise InUse(f"{path} is in use by another poller{f' (process {owner})' if owner else ''}") from error
    except OSError as error:
        raise STATE.unusable(path, f"cannot be locked: {error.strerror}") from error


def _lock_database(path: Path, database: int, kind: int = fcntl.F_WRLCK) -> None:
    if sys.platform != "linux":
        return
    wanted = struct.pack("hhqqi4x", kind, os.SEEK_SET, LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(database, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise InUse(f"{path} is in use by another poller, whose lock file was removed") from error
        raise STATE.unusable(path, f"cannot be locked: {error.strerror}") from error


def _name_owner(path: Path, lock: int, name: str) -> None:
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, name.encode(), 0)
    except OSError as error:
        raise no_room(path, error.strerror) from error
