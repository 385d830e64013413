"""How does poller add up the backlogs of several mappings, or of several workers? And when is a backlog unknown?

    the mappings of one worker     they work at the same time, so the longest time to catch up counts; shards and
                                   messages are added
    the workers of one daemon      the same, but the messages are counted once, because all workers poll the same queues

The backlog of a mapping is unknown while its source or its function fails, and while the mapping starts or stops.
More workers would not help then, and fewer workers may be too few, so an autoscaler should keep the number of workers.
Therefore an autoscaler gets an error and not a zero: after an error it keeps the number, after a zero it lowers it.
A paused or disabled mapping has no work for a worker.
"""

from __future__ import annotations

from collections.abc import Collection

from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.status import MappingStatus

Known = Backlog | UnknownBacklog
KnownDepth = QueueDepth | UnknownBacklog


def why_unknown(status: MappingStatus) -> str | None:
    """Return why the backlog of a mapping is unknown, or None if it is known."""
    if status.state in ("ready", "paused", "disabled"):
        return None
    what = f"mapping {status.mapping} is" if status.events is None else f"the events of {status.function} are"
    return f"{what} {status.state}" + (f": {status.reason}" if status.reason else "")


def has_work(status: MappingStatus) -> bool:
    """Return whether a worker would work for this mapping."""
    return status.state not in ("paused", "disabled")


def of_mappings(backlogs: Collection[Backlog]) -> Backlog:
    """Return one backlog, made of the backlogs of a worker's mappings. At most one of them belongs to each queue."""
    return Backlog(
        seconds_to_catch_up=max((each.seconds_to_catch_up for each in backlogs), default=0.0),
        shards=sum(each.shards for each in backlogs),
        messages_waiting=sum(each.messages_waiting for each in backlogs),
        events_waiting=sum(each.events_waiting for each in backlogs),
    )


def of_workers(backlogs: Collection[Known]) -> Known:
    """Return one backlog, made of the backlogs of a daemon's workers, which all have the same settings.

    The result is unknown if the backlog of one worker is unknown.
    """
    for each in backlogs:
        if isinstance(each, UnknownBacklog):
            return each
    known = [each for each in backlogs if isinstance(each, Backlog)]
    messages = max((each.messages_waiting for each in known), default=0)
    events = max((each.events_waiting for each in known), default=0)
    return of_mappings(known)._replace(messages_waiting=messages, events_waiting=events)
