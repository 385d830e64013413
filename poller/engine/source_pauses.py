"""How long is a failing source left alone? Longer after each failure in a row, and at least as long as it asks.

Calls that were under way together fail together, and count as one failure.
A shard has failures of its own: one shard may be unreadable while the others are read.
"""

from __future__ import annotations

import random

import anyio

from poller.core.backoff import SOURCE, THROTTLED_READ, at_least
from poller.errors import ServiceError, Throttled


class SourcePauses:
    """The pauses of one mapping."""

    def __init__(self, randomness: random.Random) -> None:
        self._randomness = randomness
        self._failures = 0
        self._failed_at = 0.0
        self._seconds = 0.0

    def after_failure(self, error: ServiceError, *, asked_at: float) -> float:
        """The pause in seconds after a failed poll or listing; `asked_at` is when the call began."""
        if asked_at >= self._failed_at:
            self._failures += 1
            self._failed_at = anyio.current_time()
            own = SOURCE.delay(self._failures, self._randomness)
            self._seconds = at_least(error.retry_after if isinstance(error, Throttled) else None, own)
        return self._seconds

    def succeeded(self) -> None:
        """The next failure is the first one again."""
        self._failures = 0

    def after_failed_read(self, error: ServiceError, *, in_a_row: int) -> float:
        """The pause in seconds for a shard of which so many reads in a row have failed."""
        if isinstance(error, Throttled):
            return at_least(error.retry_after, THROTTLED_READ.delay(in_a_row, self._randomness))
        return SOURCE.delay(in_a_row, self._randomness)
