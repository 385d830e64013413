"""How long does a failed operation wait before its next try?

The delay doubles with each failure in a row, up to a maximum. Half of the delay is fixed and half is random (equal
jitter), so that many mappings do not try again at the same moment.
AWS documents "exponential backoff" without numbers; the numbers below are ours.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays in seconds: `initial` after the first failure, doubled after each further one, at most `maximum`."""

    initial: float
    maximum: float

    def delay(self, failures: int, randomness: random.Random) -> float:
        """Return the seconds to wait after this number of failures in a row (at least 1).

        The result lies between half of the full delay and the full delay.
        """
        return self.full_delay(failures) * jitter(randomness)

    def full_delay(self, failures: int) -> float:
        """Return the longest delay that `delay` may return for this number of failures."""
        assert failures >= 1, failures
        return min(self.maximum, self.initial * 2.0 ** min(failures - 1, 32))


def jitter(randomness: random.Random) -> float:
    """Return a random number between 0.5 and 1, with which a full delay is multiplied."""
    return 0.5 + randomness.random() / 2


LONGEST_ASKED_FOR_IN_SECONDS = 300.0
"""The longest pause that a service can ask for. A longer pause may be a mistake, or may come from a proxy."""


def at_least(asked_for: float | None, delay: float) -> float:
    """Return the longer one of two pauses in seconds: poller's own `delay`, and the pause that a service has asked for.

    A pause of more than `LONGEST_ASKED_FOR_IN_SECONDS` is cut to this length. None means that the service has
    asked for no pause.
    """
    return delay if asked_for is None else max(delay, min(asked_for, LONGEST_ASKED_FOR_IN_SECONDS))


SOURCE = Backoff(initial=1.0, maximum=60.0)
"""For a source, an event queue, or the destination of a stream mapping that refuses requests or does not answer."""

THROTTLED_READ = Backoff(initial=0.5, maximum=5.0)
"""For throttled reads of a stream. Kinesis throttles a shard for one second, or for five after a read of 10 MiB."""

THROTTLED_LISTING = Backoff(initial=0.5, maximum=5.0)
"""For listings of shards that are throttled or get no answer. The whole account shares their rate limit."""

IMPORT = Backoff(initial=1.0, maximum=20.0)
"""For a throttled request of `poller import`. All programs of an account share the rate limit of Lambda's API."""

HASTY = Backoff(initial=0.02, maximum=1.0)
"""For polls that return empty at once instead of waiting for a message."""

POSTPONED = Backoff(initial=0.2, maximum=20.0)
"""For a batch whose function is throttled or cannot be reached, or whose messages may not stay hidden for long enough.

The batch stays in hand during the delay. Events are taken slowly by the same delays.
"""

DELETE = Backoff(initial=0.2, maximum=10.0)
"""For a failed call that deletes messages or makes them visible. The messages stay hidden during the delay."""

CRASH = Backoff(initial=1.0, maximum=60.0)
"""For a mapping that crashed because of an error in poller, or whose `kcl_table` or state cannot be used."""

WORKER = Backoff(initial=0.5, maximum=60.0)
"""For a worker process that has ended by itself. Most causes, such as a lack of memory, are over at once."""

STREAM_RETRY = Backoff(initial=0.5, maximum=30.0)
"""For a stream batch whose function failed. A batch that always fails gets about eight tries in its first minute.

We have seen AWS do the same.
"""

THROTTLED_EVENT = Backoff(initial=2.0, maximum=300.0)
"""For an asynchronous event whose function is throttled: from 1 second to 5 minutes, as on AWS.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

DELIVERY = Backoff(initial=2.0, maximum=300.0)
"""For the invocation record of an event, if the destination did not accept the invocation record."""
