"""How long does a mapping wait after its source has failed? Longer after each failure in a row.

The pause is at least as long as the source asks for.
Several calls that were in flight at the same time count as one failure.
The failures of each shard are counted separately, because reads of one shard may fail while reads of others succeed.
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
        """Return the pause in seconds after a failed poll or listing that began at `asked_at` (anyio's clock)."""
        if asked_at >= self._failed_at:
            self._failures += 1
            self._failed_at = anyio.current_time()
            own = SOURCE.delay(self._failures, self._randomness)
            self._seconds = at_least(error.retry_after if isinstance(error, Throttled) else None, own)
        return self._seconds

    def succeeded(self) -> None:
        """Reset the count of failures in a row."""
        self._failures = 0

    def after_failed_read(self, error: ServiceError, *, in_a_row: int) -> float:
        """Return the pause in seconds after a failed read of a shard.

        `in_a_row` is the shard's number of failures in a row.
        """
        if isinstance(error, Throttled):
            return at_least(error.retry_after, THROTTLED_READ.delay(in_a_row, self._randomness))
        return SOURCE.delay(in_a_row, self._randomness)
