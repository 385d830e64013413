"""How do a child's bytes become lines? They are cut at line feeds, and where a line grows too long.

A carriage return inside a line is a line break within one entry: AWS's Python client writes tracebacks that way.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator

import anyio

LINE_LIMIT_IN_BYTES = 16_384
"""A longer line comes in pieces, so that a child that never ends a line does not fill our memory."""

READ_IN_BYTES = 65_536
"""As much as a pipe of Linux holds."""


class OutputPipe:
    """What a child writes to one of its streams, in chunks. It ends when no process has the stream open.

    The pipe is our own, because the event loop's are read whether or not somebody takes what came, and in some versions
    of asyncio a process counts as running while anybody holds its pipes (cpython issue 119710).
    """

    def __init__(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._reading = os.fdopen(reading, "rb", buffering=0)
        self.writing = os.fdopen(writing, "wb", buffering=0)
        """The child's end, to be closed here once the child has it."""

    def close(self) -> None:
        self._reading.close()
        self.writing.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await anyio.wait_readable(self._reading)
            chunk = self._reading.read(READ_IN_BYTES)
            if not chunk:
                return
            yield chunk


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[str]:
    """Each line as text without its end; bytes that are no UTF-8 are replaced; the last line may lack its end."""
    held = b""
    async for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            for piece in _pieces(line):
                yield _text(piece)
        while len(held) > LINE_LIMIT_IN_BYTES:
            yield _text(held[:LINE_LIMIT_IN_BYTES])
            held = held[LINE_LIMIT_IN_BYTES:]
    if held:
        yield _text(held)


def _pieces(line: bytes) -> list[bytes]:
    return [line[start : start + LINE_LIMIT_IN_BYTES] for start in range(0, max(len(line), 1), LINE_LIMIT_IN_BYTES)]


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").replace("\r", "\n")
