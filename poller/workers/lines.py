"""How does the parent write what its workers log? Whole lines only, to its own stderr.

Each worker writes to a pipe of its own, so that two workers never write into each other's lines.
A worker that dies in the middle of a line leaves a part of one; the parent ends this line.
If stderr is a pipe and nobody reads it, the parent and the workers wait. A daemon without workers waits, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

LONGEST_LINE_IN_BYTES = 1024 * 1024
"""A longer line is broken. The longest lines of poller are tracebacks, which have some kilobytes."""


async def write_lines(pieces: AsyncIterator[bytes], write: Callable[[bytes], object]) -> None:
    """Write all pieces, until there are no more. Each call of `write` gets one or more whole lines."""
    begun = b""
    try:
        async for piece in pieces:
            whole, end, rest = piece.rpartition(b"\n")
            if end:
                write(begun + whole + end)
                begun = rest
            else:
                begun += rest
            if len(begun) > LONGEST_LINE_IN_BYTES:
                write(begun + b"\n")
                begun = b""
    finally:
        if begun:
            write(begun + b"\n")
