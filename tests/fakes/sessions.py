"""A session of its own, for tests that ask which session a process belongs to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def other_session() -> Iterator[int]:
    """A session with one process, which has no connection; gives its id.

    The session of the tests would not do: in a container it may hold processes whose descriptors we may not read,
    and each of them counts as a holder of all its user's sockets.
    """
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process.pid
