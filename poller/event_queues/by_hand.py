"""What may a person do with the stored events? Daemons may use the file at the same time.

    depths()      returns how many events each function has
    listed()      returns the events of a function, without their payloads, the oldest first
    shown()       returns one event with its payload
    retry()       makes stuck events due at once
    drop()        removes events that no daemon has claimed; they are never invoked or delivered again
    remembered()  returns the SQS queues that have, or had, the events of functions
    forget()      forgets such a queue, so that daemons take no more events from it

A daemon sees a change within a second.
All functions raise SettingsError if the file cannot be used, and CannotStore if its disk is full.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from poller.event_queues import remembered as sqs_queues
from poller.event_queues.rows import depth, event_of, functions, microseconds
from poller.event_queues.schema import EVENTS, changing, reading
from poller.model.arn import Arn
from poller.model.event import Event, EventQueueDepth, RememberedQueue
from poller.model.ids import FunctionName, RequestId

MAXIMUM_LISTED = 1000
"""The most events that are listed. Further events are only counted."""


class Listed(NamedTuple):
    """An event without its payload. All times are epoch seconds.

    `is_claimed` is true while a daemon has claimed the event. `has_ended` is true if the event waits only for
    deliveries. `size_in_bytes` is the size of the payload. `stuck` is the reason, as in Event.
    """

    request_id: RequestId
    accepted_at: float
    due_at: float
    attempts: int
    is_claimed: bool
    has_ended: bool
    stuck: str
    size_in_bytes: int


class Listing(NamedTuple):
    """The oldest events of a function, and the number of all its events."""

    events: list[Listed]
    total: int


LIST = """
SELECT request_id, accepted_at, due_at, attempts, free_at > ? AND free_at != due_at,
    CASE json_valid(rest) WHEN 1 THEN json_type(rest, '$.ending') NOTNULL ELSE 0 END, stuck,
    coalesce((SELECT length(payload) FROM payload WHERE payload.id = event.id), 0)
FROM event WHERE function = ? AND (stuck != '' OR NOT ?) ORDER BY accepted_at, id LIMIT ?
"""

COUNT = "SELECT count(*) FROM event WHERE function = ? AND (stuck != '' OR NOT ?)"

SHOW = """
SELECT id, function, request_id, accepted_at, due_at, attempts, postponements, stuck, rest,
    (SELECT payload FROM payload WHERE payload.id = event.id)
FROM event WHERE function = ? AND request_id = ? ORDER BY id DESC LIMIT 1
"""

RETRY = """
UPDATE event SET stuck = '', due_at = ?1, free_at = ?1, claim = '',
    rest = CASE json_valid(rest) WHEN 1 THEN json_remove(rest, '$.ending.rejections', '$.ending.rejected_since')
        ELSE rest END
WHERE function = ?2 AND stuck != '' AND ?3 IN ('', request_id)
"""
"""The count of rejections starts again at zero. Otherwise the next rejection would make the event stuck again."""

DROP = """
DELETE FROM event WHERE function = ?2 AND ?3 IN ('', request_id) AND NOT (free_at > ?1 AND free_at != due_at)
    AND (stuck != '' OR NOT ?4)
"""


def depths(path: Path, *, now: float) -> dict[FunctionName, EventQueueDepth]:
    """Return how many events each function has. A function without events is left out."""
    with reading(path) as file, EVENTS.faults(path):
        if file is None:
            return {}
        return {function: depth(file, function, now=now) for function in sorted(functions(file))}


def listed(path: Path, function: FunctionName, *, now: float, is_stuck: bool = False) -> Listing:
    """Return the events of the function, or only those that are stuck."""
    with reading(path) as file, EVENTS.faults(path):
        if file is None:
            return Listing([], 0)
        (total,) = file.execute(COUNT, (function, is_stuck)).fetchone()
        rows = file.execute(LIST, (microseconds(now), function, is_stuck, MAXIMUM_LISTED)).fetchall()
    return Listing([_listed(*row) for row in rows], total)


def shown(path: Path, function: FunctionName, request_id: RequestId) -> Event | None:
    """Return the event, or None if the function has no such event."""
    with reading(path) as file, EVENTS.faults(path):
        row = None if file is None else file.execute(SHOW, (function, request_id)).fetchone()
        return None if row is None else event_of(row)


def retry(path: Path, function: FunctionName, request_id: RequestId | None, *, now: float) -> int:
    """Make one stuck event of the function due at once, or all if `request_id` is None. Return their number."""
    return _change(path, RETRY, function, request_id, now)


def drop(
    path: Path, function: FunctionName, request_id: RequestId | None, *, now: float, is_stuck: bool = False
) -> int:
    """Remove one event of the function, or all if `request_id` is None. Return the number of removed events.

    With `is_stuck`, events that are not stuck stay. An event that a daemon has claimed stays.
    """
    return _change(path, DROP, function, request_id, now, is_stuck)


def remembered(path: Path) -> list[RememberedQueue]:
    """Return the SQS queues that have, or had, the events of functions."""
    with reading(path) as file, EVENTS.faults(path):
        return [] if file is None else sqs_queues.remembered(file)


def forget(path: Path, function: FunctionName, arn: Arn) -> bool:
    """Forget the SQS queue of a function. Return False if the file does not remember such a queue."""
    with changing(path) as file, EVENTS.faults(path):
        return file is not None and sqs_queues.forget(file, arn, function)


def _change(
    path: Path, statement: str, function: FunctionName, request_id: RequestId | None, now: float, *more: bool
) -> int:
    with changing(path) as file, EVENTS.faults(path):
        if file is None:
            return 0
        return file.execute(statement, (microseconds(now), function, request_id or "", *more)).rowcount


def _listed(
    request_id: str,
    accepted_at: int,
    due_at: int,
    attempts: int,
    is_claimed: int,
    has_ended: int,
    stuck: str,
    size_in_bytes: int,
) -> Listed:
    return Listed(
        request_id=RequestId(request_id),
        accepted_at=accepted_at / 1e6,
        due_at=due_at / 1e6,
        attempts=attempts,
        is_claimed=bool(is_claimed),
        has_ended=bool(has_ended),
        stuck=stuck,
        size_in_bytes=size_in_bytes,
    )
