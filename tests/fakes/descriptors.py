"""What happens to a program that has no file descriptor left?"""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Use up all file descriptors of the process. If one is closed within the block, it can be used again."""
    gc.collect()  # no object of an earlier test may close a descriptor within the block
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
