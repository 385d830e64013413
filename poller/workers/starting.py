"""With which settings does a worker start? With those that the daemon uses at that moment.

    the parent ── the settings in use, as Python values ──> stdin of the new process ──> app.py

The parent makes them with the function that every reload uses (settings/changes.py): an option of [daemon] that needs a
restart has its value of the daemon's start, and all other options are those of the last reload.
So a worker that is started again uses the same state as the others, although the file may name another one by now.
A worker does not make them from the file: no text says which values were in use before, and a link in the path of the
file may lead to another folder by now.
They never lie on a disk, because they contain secrets in place of `${NAME}`.
"""

from __future__ import annotations

import pickle
from typing import BinaryIO

from poller import __version__
from poller.errors import SettingsError
from poller.settings.in_use import InUse


def handed(in_use: InUse) -> bytes:
    """Return the settings as the bytes that `received` reads."""
    return pickle.dumps((__version__, pickle.dumps(in_use)))


def received(stdin: BinaryIO) -> InUse:
    """Return the settings that the parent has handed to this process.

    Raises SettingsError if the program was replaced after the start of the parent: the new version may keep other
    values in its settings.
    """
    version, in_use = pickle.load(stdin)  # noqa: S301  # the parent is the same program of the same user
    if version != __version__:
        why = f"poller was changed from version {version} to {__version__}, so the daemon must be restarted"
        raise SettingsError([why])
    found = pickle.loads(in_use)  # noqa: S301
    assert isinstance(found, InUse), "the parent hands nothing else"
    return found
