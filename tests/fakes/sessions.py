"""How does a test get a process in another session?"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def other_session() -> Iterator[int]:
    """Start a session with one process without a connection, and yield its id.

    The session of the tests is not suitable. In a container, it may have processes whose descriptors we may not read,
    and each of them counts as a holder of all sockets of its user.
    """
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process.pid
