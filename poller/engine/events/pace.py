"""How fast are the events of one function taken? As fast as it has room, until it is throttled or cannot be reached.

    many events at once ── an event is postponed ──> one event after each pause ── the function runs ──┐
             ^                                              └── postponed: a longer pause               │
             └─────────────────────────────────────────────────────────────────────────────────────────┘

So a function without room gets few calls, however many events wait for it, and other functions are not slowed.
Each event that was postponed also waits by itself (core/events/attempts.py).
Invocations that began before the last postponement do not lengthen the pause again.
"""

from __future__ import annotations

import random

import anyio

from poller.core.backoff import POSTPONED, at_least


class Pace:
    """The pace of one function's events."""

    def __init__(self, randomness: random.Random) -> None:
        self._randomness = randomness
        self._postponements = 0
        self._postponed_at = 0.0
        self._resumes_at = 0.0

    @property
    def is_slow(self) -> bool:
        """Return whether only one event at a time may try the function."""
        return self._postponements > 0

    @property
    def pause(self) -> float:
        """Return how many seconds the next take has to wait. It may be less than zero."""
        return self._resumes_at - anyio.current_time()

    def postponed(self, *, retry_after: float | None, began_at: float) -> None:
        """Note that the function did not take an event. `retry_after` is the pause that the function asked for."""
        now = anyio.current_time()
        if began_at >= self._postponed_at:
            self._postponements += 1
            self._postponed_at = now
        delay = at_least(retry_after, POSTPONED.delay(self._postponements, self._randomness))
        self._resumes_at = max(self._resumes_at, now + delay)

    def ran(self) -> None:
        """Note that the function ran."""
        self._postponements = 0
        self._resumes_at = 0.0
