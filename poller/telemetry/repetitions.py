"""May this line be written again? A throttled or failing function would repeat one line thousands of times a second.

A line is known by its key: the event and a bounded reason, or a shard.  Shards come and go, so when the keys become
many, those are forgotten whose pause is over.
A line is written at once, and then at most once in its pause; the next one has the number of those that were left out
between.
The lines that are left out at the very end are reported by nobody: the counters have the exact numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

MANY_KEYS = 1000

Key = tuple[Hashable, ...]


class Repetitions:
    """Remembers when each line was last written. `now` is a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._quiet_until: dict[Key, float] = {}
        self._suppressed: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._quiet_until)

    def admit(self, key: Key, pause_in_seconds: float) -> int | None:
        """None if the line is suppressed, else how many were suppressed before it."""
        now = self._now()
        if now < self._quiet_until.get(key, now):
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return None
        if len(self._quiet_until) >= MANY_KEYS:
            self._quiet_until = {key: until for key, until in self._quiet_until.items() if now < until}
            self._suppressed = {key: count for key, count in self._suppressed.items() if key in self._quiet_until}
        self._quiet_until[key] = now + pause_in_seconds
        return self._suppressed.pop(key, 0)
