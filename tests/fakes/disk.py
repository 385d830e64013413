"""How do tests disturb a file on the disk? They limit its size, or move it away. They also count its transactions."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def no_file_grows_beyond(size_in_bytes: int) -> Iterator[None]:
    """Limit the size of every file that this process writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_in_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def put_away(path: Path, *, another: bool) -> Iterator[None]:
    """Move the file away during the block. `another` takes its place, if it is given."""
    away = path.with_suffix(".away")
    path.rename(away)
    if another:
        path.write_bytes(b"")
    yield
    away.rename(path)


def transactions(path: Path) -> int:
    """Return the number of commits in the write-ahead log.

    A commit ends with a frame that has the size of the database.
    """
    log = Path(f"{path}-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    heads = [log[at : at + 24] for at in range(32, len(log), 24 + page)]
    return sum(head[4:8] != b"\0\0\0\0" for head in heads if head[8:16] == log[16:24])
