"""When is a failed message received again, if its mapping has a `redelivery_backoff`?

    receive that failed    delay
    first                  initial_in_seconds
    second                 2 * initial_in_seconds
    n-th                   2 ** (n - 1) * initial_in_seconds, at most maximum_in_seconds

The delay counts from the end of the invocation. SQS counts the receives (ApproximateReceiveCount).
A random part of up to half of the delay is cut off, so that messages which failed together do not all return together.
One random number serves a whole batch, so one call can change the visibility of several messages.
All messages of a message group return at the time of the group's first failed message, because a later message must
not be received before it.
Without the option, a message returns when the queue's own visibility timeout is over (`visibility.py`).

Source: Amazon SQS Developer Guide, "Amazon SQS visibility timeout", about backoff by ChangeMessageVisibility.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from poller.core.backoff import Backoff, jitter
from poller.core.queues.in_hand import MessageInHand
from poller.model.ids import MessageGroupId


def delay_return(failed: Sequence[MessageInHand], backoff: Backoff, *, now: float, randomness: random.Random) -> None:
    """Set the time at which each of these failed messages becomes visible again (`returns_at`).

    The messages are of one batch, in the order in which they were received. `now` is the end of the invocation, on
    anyio's clock.
    """
    part = jitter(randomness)
    by_group: dict[MessageGroupId, float] = {}
    for held in failed:
        returns_at = now + backoff.full_delay(held.receive_count) * part
        if held.group is not None:
            returns_at = by_group.setdefault(held.group, returns_at)
        held.return_at(returns_at)
