"""How much of a function's output is logged? A fixed number of lines and bytes a second, for all its child processes.

Further lines are left out and counted.
"""

from __future__ import annotations

import math

LINES_PER_SECOND = 1000
"""Logging a line takes 15 µs of the event loop, so one function may use 1.5 % of it."""

BYTES_PER_SECOND = 2**20

PERIOD_IN_SECONDS = 1.0


class OutputLimit:
    """Counts the lines and bytes of one period at a time. `now` is in seconds, from any origin.

    A period begins with the first line after the end of the last period. `lines` is the number of lines in this
    period.
    """

    def __init__(self) -> None:
        self._began = -math.inf
        self.lines = self._bytes = self._left_out = 0

    @property
    def left_out(self) -> int:
        """Return how many lines were left out since the last `take_left_out`. Empty lines count, too."""
        return self._left_out

    def is_used_up(self, now: float) -> bool:
        """Return whether the limit of this period is used up, so that lines must be left out."""
        if now >= self._began + PERIOD_IN_SECONDS:
            self._began = now
            self.lines = self._bytes = 0
        return self.lines >= LINES_PER_SECOND or self._bytes >= BYTES_PER_SECOND

    def use(self, line_in_bytes: int) -> None:
        self.lines += 1
        self._bytes += line_in_bytes

    def leave_out(self, lines: int) -> None:
        self._left_out += lines

    def take_left_out(self) -> int:
        left_out, self._left_out = self._left_out, 0
        return left_out
