"""How fast are the events of one function taken? As fast as the function can run, until an event is postponed.

    many events at once ── an event is postponed ──> one event after each pause ── the function runs ──┐
             ^                                              └── postponed: a longer pause               │
             └─────────────────────────────────────────────────────────────────────────────────────────┘

An event is postponed if the function is throttled or cannot be reached. Then the function gets few calls, even if many
events wait. Other functions keep their pace.
Each postponed event also has a delay of its own (core/events/attempts.py).
If several invocations that ran at the same time are postponed, they count as one postponement.
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
        """Return whether the function may be tried with only one event at a time."""
        return self._postponements > 0

    @property
    def pause(self) -> float:
        """Return how many seconds the next take has to wait. Zero or less means no wait."""
        return self._resumes_at - anyio.current_time()

    def postponed(self, *, retry_after: float | None, began_at: float) -> None:
        """Slow down, because an event was postponed. `retry_after` is the pause that the service asked for, in seconds.

        An invocation that began before the last postponement changes nothing.
        """
        now = anyio.current_time()
        if began_at >= self._postponed_at:
            self._postponements += 1
            self._postponed_at = now
        delay = at_least(retry_after, POSTPONED.delay(self._postponements, self._randomness))
        self._resumes_at = max(self._resumes_at, now + delay)

    def ran(self) -> None:
        """Return to the full pace, because the function ran."""
        self._postponements = 0
        self._resumes_at = 0.0
