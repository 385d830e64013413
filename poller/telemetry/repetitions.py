"""May this line be said again? A throttled or failing function would repeat one line thousands of times a second.

A line is known by its key: the event, the mapping and a bounded reason, so that there are few keys.
It is said at once, and then at most once in `PAUSE_IN_SECONDS`; the next one tells how many were kept back between.
What is kept back at the very end is told by nobody: the counters have the exact numbers.
"""

from __future__ import annotations

from collections.abc import Callable

PAUSE_IN_SECONDS = 10.0


class Repetitions:
    """Remembers when each line was last said. `now` is a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._quiet_until: dict[tuple[str, ...], float] = {}
        self._kept_back: dict[tuple[str, ...], int] = {}

    def admit(self, *key: str) -> int | None:
        """None: keep this line back. A number: say it, and that so many like it were kept back before."""
        now = self._now()
        if now < self._quiet_until.get(key, now):
            self._kept_back[key] = self._kept_back.get(key, 0) + 1
            return None
        self._quiet_until[key] = now + PAUSE_IN_SECONDS
        return self._kept_back.pop(key, 0)
