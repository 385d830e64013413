"""How do several processes of one host open the state file? The first one prepares it, while the others wait.

    alone      creates or migrates the table, reads every row, frees the leases of dead workers ──┐
    together   <── then all processes share the locks of `ownership.py` until they end ───────────┘
    too early  the process that was alone has ended before it had created the table: enter again

A process that is alone knows that all owners of leases are dead, so it frees their leases at once: nobody has to wait
for the end of a lease. A worker whose process is stopped (SIGSTOP) still has its locks, so no other process is alone.
A fault of the file is a SettingsError that names `daemon.state`. InUse and CannotStore are for faults that may pass.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from poller.errors import InUse
from poller.model.lease import Row
from poller.sqlite.copies import copy_of, keep_copy
from poller.stores import ownership
from poller.stores.lease_rows import check, free_all, scan
from poller.stores.schema import FORMAT, STATE, create, format_of, migrate


@contextmanager
def shared(
    path: Path, on_migration: Callable[[Path], None] = lambda _: None, *, stays_alone: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open the file for this process and others, in autocommit mode. Raises SettingsError, InUse or CannotStore.

    If this process migrates the file from the previous format, `on_migration` gets the path of the copy that is kept.
    With `stays_alone`, a process that is alone keeps all other processes out.
    """
    until = time.monotonic() + ownership.PATIENCE_IN_SECONDS
    while True:
        with ownership.sharing(path) as share, STATE.connection(path, "rw") as file:
            if _is_prepared(path, file, share, on_migration):
                if not stays_alone:
                    share.let_others_in()
                yield file
                return
        if time.monotonic() >= until:
            raise InUse(f"{path} is in use by another poller, which has not created its table")
        time.sleep(ownership.PAUSE_IN_SECONDS)


def shown(path: Path) -> list[Row] | None:
    """Read all rows, even while other processes use the file. Return None if there is no file, or an empty one.

    A file of the previous format is migrated in memory, so that the file itself does not change. Raises SettingsError.
    """
    with STATE.reading(path) as file, STATE.faults(path):
        found = None if file is None else format_of(path, file)
        if file is None or found is None:
            return None
        if found == FORMAT:
            check(file)
            return scan(file)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
            file.backup(copy)
            migrate(copy)
            return scan(copy)


def _is_prepared(
    path: Path, file: sqlite3.Connection, share: ownership.Share, on_migration: Callable[[Path], None]
) -> bool:
    """Return whether the file can be used. A process that is alone prepares it."""
    with STATE.faults(path):
        found = format_of(path, file)
        STATE.use_log(path, file)
        if found is not None:
            STATE.check_pages(path, file)
        if share.is_alone:
            _prepare(path, file, found, on_migration)
            return True
        return found == FORMAT


def _prepare(path: Path, file: sqlite3.Connection, found: int | None, on_migration: Callable[[Path], None]) -> None:
    if found is None:
        create(file)
        return
    if found == FORMAT:
        check(file)
    else:
        keep_copy(STATE, path, file, found)
        migrate(file)
        on_migration(copy_of(path, found))
    free_all(file)
