"""When is the record of an ended event sent again, and when is the event stuck?

An ended event may need several deliveries, each to its destination or to the dead-letter queue.
In one round, the engine tries all that are left, side by side; none waits for another.

    all were accepted                         the event is done
    some failed, and one of them may pass     the others are done; the rest is tried again after a pause
    some failed, and none of them will pass   the same, and it counts as a rejection
        the third rejection or a later one,   the event is stuck: it is kept, and not tried again until a person
        a minute after the first or later     retries it or drops it

A failure does not pass by waiting if access is denied, if the destination does not exist, or if the request itself is
at fault (`errors.LASTING`).
AWS drops the record then, and does not document after how many tries.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from poller.core.backoff import DELIVERY, at_least
from poller.errors import LASTING, QueueFull, ServiceError, Throttled
from poller.model.event import Delivery, Event

REJECTIONS = 3
REJECTED_FOR_SECONDS = 60.0
"""How often, and for how long at least, an event is rejected before it is stuck. A new policy may need some seconds."""

REASON_CHARACTERS = 500
"""How much of an error's text is kept with a stuck event."""


def after_deliveries(
    event: Event, failures: Mapping[Delivery, ServiceError], *, now: float, randomness: random.Random
) -> Event | None:
    """Return the event after a round of its deliveries: due again later, or stuck. None if nothing is left to do.

    `failures` has the deliveries of this round that failed. `now` is in epoch seconds.
    """
    ending = event.ending
    assert ending is not None, "only an ended event has deliveries"
    assert failures.keys() <= set(ending.deliveries), "a delivery was not asked for"
    if not failures:
        return None
    left = tuple(delivery for delivery in ending.deliveries if delivery in failures)
    ending = replace(ending, deliveries=left)
    if all(isinstance(error, LASTING) for error in failures.values()):
        since = now if ending.rejected_since is None else ending.rejected_since
        ending = replace(ending, rejections=ending.rejections + 1, rejected_since=since)
        if ending.rejections >= REJECTIONS and now - since >= REJECTED_FOR_SECONDS:
            reasons = "; ".join(f"{delivery}: {failures[delivery]}" for delivery in left)
            return replace(event, ending=ending, stuck=reasons[:REASON_CHARACTERS])
    pauses = (error.retry_after for error in failures.values() if isinstance(error, Throttled | QueueFull))
    asked_for = max((pause for pause in pauses if pause is not None), default=None)
    delay = at_least(asked_for, DELIVERY.delay(event.postponements + 1, randomness))
    return replace(event, ending=ending, postponements=event.postponements + 1, due_at=now + delay)


def retried(event: Event, *, now: float) -> Event:
    """Return the stuck event as a person's request to retry it makes it: due at once, with its rejections forgotten."""
    ending = event.ending
    if ending is not None:
        ending = replace(ending, rejections=0, rejected_since=None)
    return replace(event, ending=ending, stuck="", postponements=0, due_at=now)
