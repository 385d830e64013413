"""How does the output of a child process become log lines? It is cut at line feeds, and long lines are cut in pieces.

A carriage return within a line is a line break within one log entry: AWS's Python client writes tracebacks that way.
Empty lines are not logged.
A child may write faster than lines can be logged. So other tasks run after every few lines. Beyond the function's
limit, lines are only counted, and a pause follows each read, so that the pipe fills up and slows the child.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import termios
from collections.abc import Callable

import anyio
import anyio.lowlevel

from poller.targets.runtime.output_limit import PERIOD_IN_SECONDS, OutputLimit

LINE_LIMIT_IN_BYTES = 16_384
"""A longer line is logged in pieces, so that a child that never ends a line does not fill the memory."""

READ_IN_BYTES = 65_536
"""The size of a pipe on Linux."""

LINES_AT_A_TIME = 50
"""How many lines are logged before other tasks run: about a millisecond of work."""

PAUSE_IN_SECONDS = 0.005
"""The pause after a read beyond the limit."""


class LineCutter:
    """Cuts bytes, which come in any pieces, into lines without their line feeds."""

    def __init__(self) -> None:
        self._bytes = b""
        self._start = 0

    def add(self, chunk: bytes) -> None:
        self._bytes = self._bytes[self._start :] + chunk
        self._start = 0

    def next_line(self) -> bytes | None:
        """Return the next line, or a piece of a line that is too long.

        Return None if the end of the line has not come yet.
        """
        end = self._bytes.find(b"\n", self._start, self._start + LINE_LIMIT_IN_BYTES + 1)
        if end == -1 and len(self._bytes) - self._start <= LINE_LIMIT_IN_BYTES:
            return None
        start = self._start
        self._start = start + LINE_LIMIT_IN_BYTES if end == -1 else end + 1
        return self._bytes[start : start + LINE_LIMIT_IN_BYTES if end == -1 else end]

    def skip(self) -> int:
        """Skip all lines that `next_line` would return now, and return how many they are."""
        lines = self._bytes.count(b"\n", self._start)
        self._start = max(self._start, self._bytes.rfind(b"\n") + 1)
        pieces = (len(self._bytes) - self._start) // (LINE_LIMIT_IN_BYTES + 1)
        self._start += pieces * LINE_LIMIT_IN_BYTES
        return lines + pieces

    def rest(self) -> bytes:
        """Return the bytes after the last line feed."""
        return self._bytes[self._start :]


class Output:
    """The stdout or the stderr of a child process. Give `writing` to the child, then close it in the daemon.

    The pipe does not belong to asyncio. asyncio reads its pipes even while nobody uses their bytes. In some versions of
    asyncio, a process counts as running while any process holds its pipes (cpython issue 119710).
    """

    def __init__(
        self, limit: OutputLimit, *, log_line: Callable[[str], None], report_left_out: Callable[[], None]
    ) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._reading = os.fdopen(reading, "rb", buffering=0)
        self.writing = os.fdopen(writing, "wb", buffering=0)
        self._limit = limit
        self._log = log_line
        self._report_left_out = report_left_out
        self._cutter = LineCutter()
        self._read = self._logged = 0  # bytes of the stream
        self._has_ended = False
        self._progress = anyio.Event()

    def close(self) -> None:
        self._reading.close()
        self.writing.close()

    async def run(self) -> None:
        """Log each line, and return when no process has the stream open any more."""
        try:
            while (chunk := await self._chunk()) != b"":
                await self._take(chunk)
            if not self._limit.is_used_up(anyio.current_time()):
                self._log_line(self._cutter.rest())
        finally:
            self._has_ended = True
            self._progress.set()

    async def catch_up(self) -> None:
        """Wait until every line that the child process has written by now is logged or left out.

        Later output does not prolong the wait.
        """
        written = self._read + bytes_waiting(self._reading.fileno()) if not self._has_ended else 0
        while self._logged < written and not self._has_ended:
            await self._progress.wait()

    async def _chunk(self) -> bytes:
        """Return the next bytes, or nothing at the end. While no bytes come, report the lines that were left out."""
        while True:
            with anyio.move_on_after(PERIOD_IN_SECONDS if self._limit.left_out else math.inf):
                await anyio.wait_readable(self._reading)
                return self._reading.read(READ_IN_BYTES) or b""
            self._report_left_out()

    async def _take(self, chunk: bytes) -> None:
        self._read += len(chunk)
        self._cutter.add(chunk)
        if not await self._log_lines():
            self._limit.leave_out(self._cutter.skip())
            await anyio.sleep(PAUSE_IN_SECONDS)
        self._logged = self._read
        self._progress.set()
        self._progress = anyio.Event()

    async def _log_lines(self) -> bool:
        """Log the lines that have come. Return False if the limit is reached before the last of them."""
        while True:
            now = anyio.current_time()
            for _ in range(LINES_AT_A_TIME):
                if self._limit.is_used_up(now):
                    return False
                line = self._cutter.next_line()
                if line is None:
                    return True
                self._log_line(line)
            await anyio.lowlevel.checkpoint()

    def _log_line(self, line: bytes) -> None:
        if self._limit.left_out:
            self._report_left_out()
        self._limit.use(len(line))
        if text := _text(line):
            self._log(text)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r").replace("\r", "\n")


def bytes_waiting(pipe: int) -> int:
    """Return how many bytes of a pipe are written and not read yet."""
    (waiting,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return int(waiting)
