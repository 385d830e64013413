"""How do the daemon and a person open the state file? The file must be poller's, undamaged, and of a known format.

    owned(path)    opens it for writing, for one process at a time; creates it if there is none
    shown(path)    opens it for reading, even while another process owns it

`ownership.py` makes sure that only one process owns the file.
The owner migrates a file of the previous format (`schema.py`).
The owner first reads every page and every row: from a damaged file that counts as an empty one, every stream would
start over without a warning.
A fault of the file is a SettingsError that names `daemon.state`. InUse and CannotStore are for faults that may pass.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from poller.sqlite.copies import copy_of, keep_copy
from poller.stores.ownership import locked
from poller.stores.rows import check
from poller.stores.schema import FORMAT, SCHEMA, STATE, format_of, migrate


@contextmanager
def owned(path: Path, on_migration: Callable[[Path], None] = lambda _: None) -> Iterator[sqlite3.Connection]:
    """Open the file for this process alone, in autocommit mode. Raises SettingsError, InUse or CannotStore.

    If the file is migrated from the previous format, `on_migration` gets the path of the copy that is kept.
    """
    with locked(path), STATE.connection(path, "rw") as connection:
        with STATE.faults(path):
            found = format_of(path, connection)
            STATE.use_log(path, connection)
            if found is None:
                connection.executescript(SCHEMA)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the file has tables even without its log
            else:
                STATE.check_pages(path, connection)
                if found == FORMAT:
                    check(connection)
                else:
                    keep_copy(STATE, path, connection, found)
                    migrate(connection)
                    on_migration(copy_of(path, found))
        yield connection


@contextmanager
def shown(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the file for reading. Yields None if nothing was stored yet.

    A file of the previous format is migrated in memory, so that the file itself does not change.
    """
    with STATE.reading(path) as connection:
        with STATE.faults(path):
            found = None if connection is None else format_of(path, connection)
        if connection is None or found is None:
            yield None
        elif found == FORMAT:
            yield connection
        else:
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                with STATE.faults(path):
                    connection.backup(copy)
                    migrate(copy)
                yield copy
