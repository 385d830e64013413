"""How long does a mapping need for the records that wait in its shards?  age of the oldest record / speed

The speed is how many seconds of the stream are worked off in one second. It follows from how the age changes:

    the age stays the same            speed 1: as many records are done as arrive
    the age falls by 2 s each second  speed 3
    the age grows by 1 s each second  speed 0: nothing is done

So no record needs to be counted, and a mapping that keeps up needs almost no time, however much it reads.
The speed is dampened, because batches make the age jump. It has limits, so that the time has limits, too: a mapping
that does nothing for a moment is not infinitely far behind.
"""

from __future__ import annotations

from math import exp

DAMPING_IN_SECONDS = 60.0
"""The time after which a changed speed counts for about two thirds."""

SLOWEST, FASTEST = 0.1, 10.0
"""The limits of the speed. With the first one, the time to catch up is at most ten times the age."""

SHORTEST_IN_SECONDS = 5.0
"""The shortest time between two measured ages from which a speed is computed."""

FORGOTTEN_AFTER_IN_SECONDS = 300.0
"""An age that was measured longer ago than this says nothing about the present speed."""


class CatchingUp:
    """Measures the speed of one mapping, from one call of `seconds` to the next."""

    def __init__(self) -> None:
        self._speed = 1.0
        self._age: float | None = None
        self._at = 0.0

    def seconds(self, age_in_seconds: float, *, now: float) -> float:
        """Return how long the mapping needs for the records that wait. `now` is on a monotonic clock."""
        elapsed = now - self._at
        if self._age is None or elapsed > FORGOTTEN_AFTER_IN_SECONDS:
            self._speed, self._age, self._at = 1.0, age_in_seconds, now
        elif elapsed >= SHORTEST_IN_SECONDS:
            measured = min(max(1 - (age_in_seconds - self._age) / elapsed, SLOWEST), FASTEST)
            self._speed = measured + (self._speed - measured) * exp(-elapsed / DAMPING_IN_SECONDS)
            self._age, self._at = age_in_seconds, now
        return age_in_seconds / self._speed
