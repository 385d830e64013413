"""What happens to a program's file on the disk? It may not grow, or it is moved away; and how often was it written?"""

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
    """Move the file away during the block, and perhaps put another one in its place."""
    away = path.with_suffix(".away")
    path.rename(away)
    if another:
        path.write_bytes(b"")
    yield
    away.rename(path)


def transactions(path: Path) -> int:
    """Return the number of commits in the write-ahead log. The last frame of a commit has the size of the database."""
    log = Path(f"{path}-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    heads = [log[at : at + 24] for at in range(32, len(log), 24 + page)]
    return sum(head[4:8] != b"\0\0\0\0" for head in heads if head[8:16] == log[16:24])
