"""How long until the next try?

Exponential, with equal jitter: half of the delay is fixed, half is luck, so that many waiters spread out and none
comes back at once.  AWS says "exponential backoff" and no more; the constants are ours and stand here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays in seconds: `initial` after the first failure, doubled for each further one, never above `maximum`."""

    initial: float
    maximum: float

    def delay(self, failures: int, luck: random.Random) -> float:
        """How long to wait after so many failures in a row (from 1)."""
        assert failures >= 1, failures
        full = min(self.maximum, self.initial * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + luck.random() / 2)


SOURCE = Backoff(initial=1.0, maximum=60.0)
"""A source that refuses or does not answer."""

POSTPONED = Backoff(initial=0.2, maximum=20.0)
"""A function that is full or cannot be reached, while its batch stays in hand."""

DELETE = Backoff(initial=0.2, maximum=10.0)
"""A delete that did not go through, while the messages stay hidden."""

CRASH = Backoff(initial=1.0, maximum=60.0)
"""A mapping that crashed through a fault of our own."""
