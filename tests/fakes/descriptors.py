"""What happens to a program that has no file descriptor left?"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Leave no free file descriptor in the whole process. One that is closed within the block can be used again."""
    gc.collect()  # nothing that a former test left may be closed within
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, max(taken) + 100), hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(taken[0]))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_any_free() -> bool:
    try:
        os.close(os.dup(0))
    except OSError:
        return False
    return True
