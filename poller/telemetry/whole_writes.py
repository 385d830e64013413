"""How are log lines written to stderr, so that the reader gets whole lines?

A single `write` of a file may write a part of its bytes: a signal, such as the end of a child process, interrupts it
while it waits for a full pipe. Python writes the rest, unless PYTHONUNBUFFERED is set, as in most container images.
A program that shares our stderr may have set it to non-blocking mode. Then a write to a full pipe writes nothing.
So `write_whole` writes until nothing is left, and waits while the pipe is full.
"""

from __future__ import annotations

from contextlib import suppress
from select import select
from typing import IO


def write_whole(stream: IO[bytes], lines: bytes) -> None:
    """Write all bytes at once, past the buffer of the stream. Lines that cannot be written are lost without an error.

    Such errors are an OSError, and the ValueError of a closed stream.
    """
    bare = getattr(stream, "raw", stream)
    rest = memoryview(lines)
    with suppress(OSError, ValueError):
        while rest:
            written = bare.write(rest)
            if written is None:  # the pipe is full, and in non-blocking mode
                select([], [bare], [])
            else:
                rest = rest[written:]
