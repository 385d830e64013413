"""How does a person return to an older version of poller? With the copy that is kept of a file in its old format.

    poller.db, format 2 ──> copy ──> poller.db.format-2     stays beside the file
          │
          └──> migrate, in one transaction ──> poller.db, format 3

The copy is complete and flushed before the file changes. A crash at any moment leaves the old format or the new one.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from poller.sqlite.kind import MODE, NO_ROOM, Kind, no_room


def copy_of(path: Path, its_format: int) -> Path:
    """Return the path of the copy that is kept when a file of this format is migrated."""
    return Path(f"{path.resolve()}.format-{its_format}")


def keep_copy(kind: Kind, path: Path, file: sqlite3.Connection, its_format: int) -> None:
    """Write a copy of the whole open file to the path `copy_of`, and flush it.

    A copy from an earlier try is replaced only when the new one is complete. Raises CannotStore or SettingsError.
    """
    copy = copy_of(path, its_format)
    unfinished = Path(f"{copy}.unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            file.execute("VACUUM INTO ?", (str(unfinished),))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.replace(copy)
        _flush_folder(copy.parent)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise no_room(copy, error.strerror) from error
        raise kind.unusable(path, f"{copy.name} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
