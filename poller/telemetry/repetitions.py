"""When may a log line be written again? A failing function would repeat one line thousands of times a second.

Lines repeat each other if their keys are equal: the event and, for example, a reason or a shard.
The first line is written at once, and then at most one line in each pause. Each line says how many lines were
suppressed before it. If no later line follows, the last suppressed lines are not reported, but the counters have the
exact numbers.
Shards come and go. So when there are many keys, those whose pause is over are forgotten.
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
        """Return how many keys are remembered."""
        return len(self._quiet_until)

    def admit(self, key: Key, pause_in_seconds: float) -> int | None:
        """Return None if the line is suppressed, else how many lines were suppressed before it."""
        now = self._now()
        if now < self._quiet_until.get(key, now):
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return None
        if len(self._quiet_until) >= MANY_KEYS:
            self._quiet_until = {key: until for key, until in self._quiet_until.items() if now < until}
            self._suppressed = {key: count for key, count in self._suppressed.items() if key in self._quiet_until}
        self._quiet_until[key] = now + pause_in_seconds
        return self._suppressed.pop(key, 0)
