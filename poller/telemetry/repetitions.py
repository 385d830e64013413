"""May this line be said again? A throttled or failing function would repeat one line thousands of times a second.

A line is known by its key: the event, the mapping and a bounded reason, or a shard; shards come and go, so when the
keys become many, those are forgotten whose pause is over.
It is said at once, and then at most once in `PAUSE_IN_SECONDS`; the next one tells how many were kept back between.
What is kept back at the very end is told by nobody: the counters have the exact numbers.
"""

from __future__ import annotations

from collections.abc import Callable

PAUSE_IN_SECONDS = 10.0

MANY_KEYS = 1000


class Repetitions:
    """Remembers when each line was last said. `now` is a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._quiet_until: dict[tuple[str, ...], float] = {}
        self._kept_back: dict[tuple[str, ...], int] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._quiet_until)

    def admit(self, *key: str) -> int | None:
        """None: keep this line back. A number: say it, and that so many like it were kept back before."""
        now = self._now()
        if now < self._quiet_until.get(key, now):
            self._kept_back[key] = self._kept_back.get(key, 0) + 1
            return None
        if len(self._quiet_until) >= MANY_KEYS:
            self._quiet_until = {key: until for key, until in self._quiet_until.items() if now < until}
            self._kept_back = {key: count for key, count in self._kept_back.items() if key in self._quiet_until}
        self._quiet_until[key] = now + PAUSE_IN_SECONDS
        return self._kept_back.pop(key, 0)

    def forget(self, owner: str) -> None:
        """Forget all lines about this mapping or function, which the second part of a key names."""
        for key in [key for key in self._quiet_until if key[1:2] == (owner,)]:
            del self._quiet_until[key]
            self._kept_back.pop(key, None)
