"""Which lines did the child processes of a function write last? The page shows some of them.

Only lines that the daemon logs are kept (`output_limit.py`).
"""

from __future__ import annotations

from collections import deque

import anyio

from poller.model.function_status import LINE_CHARACTERS, LINES_KEPT


class RecentOutput:
    """The last lines of all child processes of one function."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, int, str]] = deque(maxlen=LINES_KEPT)

    def add(self, pid: int, line: str) -> None:
        """Keep a line. Of a long line, keep its end: a traceback ends with the error."""
        self._lines.append((anyio.current_time(), pid, line[-LINE_CHARACTERS:]))

    def lines(self) -> list[tuple[float, int, str]]:
        """Return each line with its time on anyio's clock and the child process, the oldest line first."""
        return list(self._lines)
