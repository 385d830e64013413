"""How long until the next try?

Exponential, with equal jitter: half of the delay is fixed, half is randomness, so that many waiters spread out and none
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

    def delay(self, failures: int, randomness: random.Random) -> float:
        """How long to wait after so many failures in a row (from 1)."""
        assert failures >= 1, failures
        full = min(self.maximum, self.initial * 2.0 ** min(failures - 1, 32))
        return full * (0.5 + randomness.random() / 2)


LONGEST_ASKED_FOR_IN_SECONDS = 300.0
"""The longest pause that a service is granted when it asks for one: it may be mistaken, or not a service at all."""


def at_least(asked_for: float | None, delay: float) -> float:
    """Our own delay, or the longer pause that the other side asked for, within reason."""
    return delay if asked_for is None else max(delay, min(asked_for, LONGEST_ASKED_FOR_IN_SECONDS))


SOURCE = Backoff(initial=1.0, maximum=60.0)
"""A source that refuses or does not answer."""

STORE = Backoff(initial=1.0, maximum=60.0)
"""A position store that refuses or does not answer, such as a full disk."""

THROTTLED_READ = Backoff(initial=0.5, maximum=5.0)
"""A read that a stream refuses for its rate: Kinesis does so for a second, or for the five that 10 MiB take."""

THROTTLED_LISTING = Backoff(initial=0.5, maximum=5.0)
"""A page of a listing of shards that is refused for its rate, which the whole account shares."""

HASTY = Backoff(initial=0.02, maximum=1.0)
"""Polls that come back empty at once, where they should have waited for a message."""

POSTPONED = Backoff(initial=0.2, maximum=20.0)
"""A function that is full or cannot be reached, while its batch stays in hand."""

DELETE = Backoff(initial=0.2, maximum=10.0)
"""A delete that did not go through, while the messages stay hidden."""

CRASH = Backoff(initial=1.0, maximum=60.0)
"""A mapping that crashed through a fault of our own."""

STREAM_RETRY = Backoff(initial=0.5, maximum=30.0)
"""A stream batch whose function failed. An always failing one is tried about eight times in its first minute, as was
seen on AWS."""
