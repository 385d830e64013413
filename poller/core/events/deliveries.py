"""When is the record of an ended event sent again, and when is the event stuck?

An ended event may need several deliveries, each to its destination or to the dead-letter queue.
In one round, the engine tries all deliveries that have not succeeded yet, at the same time.

    no delivery failed                    the event is done
    at least one failure is temporary     the failed deliveries are tried again after a pause
    all failures are lasting              the same, and the round counts as a rejection
        third or later rejection, and     the event is stuck: the queue keeps the event, and nothing tries the event
        60 s or more since the first      again until a person retries it or drops it

A failure is lasting if access is denied, if the destination does not exist, or if the request itself is wrong
(`errors.LASTING`).
AWS drops the record after several such failures, and does not document their number.
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
"""An event is stuck after this number of rejections and this time. AWS may need some seconds to apply a new policy."""

REASON_CHARACTERS = 500
"""How many characters of the errors' texts are kept with a stuck event."""


def after_deliveries(
    event: Event, failures: Mapping[Delivery, ServiceError], *, now: float, randomness: random.Random
) -> Event | None:
    """Return the event after a round of its deliveries: due again later, or stuck.

    Return None if all deliveries succeeded.

    `failures` has the error of each delivery that failed in this round. `now` is in epoch seconds.
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
    """Return a stuck event as it is after a person has retried it: due at once, and without rejections."""
    ending = event.ending
    if ending is not None:
        ending = replace(ending, rejections=0, rejected_since=None)
    return replace(event, ending=ending, stuck="", postponements=0, due_at=now)
