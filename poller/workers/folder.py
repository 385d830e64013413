"""Where do the workers have their sockets and their copy of the settings? In a folder that only the daemon's user sees.

The parent removes the folder at its end. If the parent is killed, the folder stays, and the next parent of the same
user removes it: each parent holds the lock of a file in its folder while it lives.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "poller-workers-"
LOCK = "lock"

LONGEST_PARENT_IN_BYTES = 60
"""The path of a socket has 103 bytes at most (admin/control.py). The folder and a new socket need up to 40 of them."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new folder, and remove it after the block. Remove the folders of dead parents, too."""
    parent = _folder_of_temporary_files()
    _remove_those_of_the_dead(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent) as name:
        new = Path(name, f"{LOCK}.new")
        with new.open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            new.rename(Path(name, LOCK))  # it is locked when it appears
            yield Path(name)


def _folder_of_temporary_files() -> Path:
    """Return the folder of temporary files, or /tmp if the path of a socket would be too long there."""
    parent = tempfile.gettempdir()
    fits = len(os.fsencode(parent)) <= LONGEST_PARENT_IN_BYTES
    return Path(parent if fits else "/tmp")  # noqa: S108  # the new folder in it is private


def _remove_those_of_the_dead(parent: Path) -> None:
    """Remove the folders of this user whose parents have ended. A folder that cannot be removed stays."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and _is_free(folder):
                shutil.rmtree(folder)


def _is_free(folder: Path) -> bool:
    """Return whether the parent of this folder has ended.

    Raises OSError if the folder is new, or if no parent made it.
    """
    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
