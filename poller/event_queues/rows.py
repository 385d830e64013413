"""How is an event stored in the file? As one row of the table `event` and one row of `payload` (`schema.py`).

    free_at <= now      the event may be taken: it is due, or its claim has ended
    free_at > now       the event is not yet due, or it is claimed
    stuck               if not empty, the event is not taken until a person retries it

The column `claim` names the process and the take. A later take of the event writes another claim, and the earlier claim
is lost.

One statement stores many events, and one statement removes many. So the thread waits for Python's global lock once, and
not once for each event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson

from poller.event_queues.notation import parse_rest, rest_of
from poller.model.event import MOST_BYTES_TAKEN, Event, EventQueueDepth, TakenEvent
from poller.model.ids import FunctionName, RequestId
from poller.sqlite.kind import DamagedRow


class Claimed(NamedTuple):
    """The row of a claimed event, and its claim. The handle of a taken event is the text of both."""

    row_id: int
    claim: str

    @classmethod
    def of(cls, taken: TakenEvent) -> Claimed:
        row_id, _, claim = taken.handle.partition(" ")
        return cls(int(row_id), claim)


NEXT_ID = "SELECT coalesce(max(id), 0) + 1 FROM event"

PUT = """
INSERT INTO event (
    id, function, request_id, accepted_at, due_at, free_at, claim, attempts, postponements, stuck, rest, size
)
SELECT ? + key, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[3]'), '', json_extract(value, '$[4]'),
    json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]'),
    json_extract(value, '$[8]')
FROM json_each(?)
"""

PUT_PAYLOADS = """
INSERT INTO payload (id, payload)
SELECT ? + key, coalesce(substr(?, json_extract(value, '$[0]'), json_extract(value, '$[1]')), x'') FROM json_each(?)
"""
"""One blob has all payloads; each row gets its part."""

TAKE = """
UPDATE event SET claim = ?, free_at = ? WHERE id IN (
    SELECT id FROM (
        SELECT id, size, sum(size) OVER (ORDER BY free_at ROWS UNBOUNDED PRECEDING) AS together FROM (
            SELECT id, free_at, size FROM event WHERE function = ? AND stuck = '' AND free_at <= ?
            ORDER BY free_at LIMIT ?
        )
    ) WHERE together <= ? OR together = size
) RETURNING id, function, request_id, accepted_at, due_at, attempts, postponements, stuck, rest,
    (SELECT payload FROM payload WHERE payload.id = event.id)
"""
"""Claims the events that were free first, up to the allowed number of bytes in all, but always at least one event."""

SET_ASIDE = "UPDATE event SET claim = '', free_at = due_at, stuck = ? WHERE id = ?"

RELEASE = """
UPDATE event SET claim = '', free_at = due_at WHERE claim = ? AND id IN (SELECT value FROM json_each(?))
"""

EXTEND = "UPDATE event SET free_at = ? WHERE id = ? AND claim = ?"

PUT_BACK = """
UPDATE event SET due_at = ?, free_at = ?, claim = '', attempts = ?, postponements = ?, stuck = ?, rest = ?, size = ?
WHERE id = ? AND claim = ?
"""

REMOVE = """
DELETE FROM event WHERE id IN (
    SELECT event.id FROM json_each(?) AS one
    JOIN event ON event.id = json_extract(one.value, '$[0]') AND event.claim = json_extract(one.value, '$[1]')
)
"""

DEPTH = """
SELECT count(*), coalesce(sum(stuck != ''), 0), coalesce(sum(stuck = '' AND free_at > ? AND free_at != due_at), 0),
    min(accepted_at)
FROM event WHERE function = ?
"""

NEXT_FREE = """
SELECT value, (SELECT min(free_at) FROM event WHERE function = one.value AND stuck = '') FROM json_each(?) AS one
"""

FUNCTIONS = """
WITH RECURSIVE named (function) AS (
    SELECT min(function) FROM event
    UNION ALL SELECT (SELECT min(function) FROM event WHERE event.function > named.function) FROM named
    WHERE function IS NOT NULL
)
SELECT function FROM named WHERE function IS NOT NULL
"""
"""Each step is one search of the index, so the number of events does not matter."""


def put(file: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Store the events. Call this in a transaction, so that no other process uses the same ids."""
    (first,) = file.execute(NEXT_ID).fetchone()
    rows = [
        (
            event.function,
            event.request_id,
            microseconds(event.accepted_at),
            microseconds(event.due_at),
            event.attempts,
            event.postponements,
            event.stuck,
            (rest := rest_of(event)),
            len(event.payload) + len(rest),
        )
        for event in events
    ]
    parts, begin = [], 1
    for event in events:
        parts.append((begin, len(event.payload)))
        begin += len(event.payload)
    file.execute(PUT, (first, orjson.dumps(rows).decode()))
    file.execute(PUT_PAYLOADS, (first, b"".join(event.payload for event in events), orjson.dumps(parts).decode()))


def take(
    file: sqlite3.Connection, function: FunctionName, *, claim: str, count: int, now: float, until: float
) -> list[TakenEvent]:
    """Claim up to `count` events that are free at `now`, and no more than MOST_BYTES_TAKEN. The claims end at `until`.

    A row that poller cannot have written becomes stuck, so that it does not block the events behind it.
    """
    asked = (claim, microseconds(until), function, microseconds(now), count, MOST_BYTES_TAKEN)
    taken = []
    for row in file.execute(TAKE, asked).fetchall():
        try:
            taken.append(TakenEvent(event=event_of(row), handle=f"{row[0]} {claim}", claimed_until=until))
        except DamagedRow as error:
            file.execute(SET_ASIDE, (str(error), row[0]))
    taken.sort(key=lambda each: each.event.due_at)
    return taken


def release(file: sqlite3.Connection, taken: Collection[TakenEvent]) -> None:
    """End the claims of one take. The events are due again."""
    claimed = [Claimed.of(each) for each in taken]
    if claimed:
        file.execute(RELEASE, (claimed[0].claim, orjson.dumps([each.row_id for each in claimed]).decode()))


def extend(file: sqlite3.Connection, claimed: Claimed, *, until: float) -> bool:
    """Let the claim end at `until`. Return False if the claim is lost."""
    return file.execute(EXTEND, (microseconds(until), *claimed)).rowcount == 1


def put_back(file: sqlite3.Connection, claimed: Claimed, event: Event, rest: str) -> None:
    """Store the changed event, and end the claim. `rest` is `rest_of(event)`. Do nothing if the claim is lost."""
    due_at = microseconds(event.due_at)
    size = len(event.payload) + len(rest)
    values = (due_at, due_at, event.attempts, event.postponements, event.stuck, rest, size)
    file.execute(PUT_BACK, (*values, *claimed))


def remove(file: sqlite3.Connection, claimed: Collection[Claimed]) -> None:
    file.execute(REMOVE, (orjson.dumps([tuple(each) for each in claimed]).decode(),))


def depth(file: sqlite3.Connection, function: FunctionName, *, now: float) -> EventQueueDepth:
    held, stuck, in_flight, oldest = file.execute(DEPTH, (microseconds(now), function)).fetchone()
    return EventQueueDepth(
        waiting=held - stuck - in_flight,
        in_flight=in_flight,
        stuck=stuck,
        oldest_accepted_at=None if oldest is None else oldest / 1e6,
    )


def next_free(file: sqlite3.Connection, functions: Collection[FunctionName]) -> dict[FunctionName, float]:
    """Return when the next event of each function may be taken. A function without such an event is left out."""
    rows = file.execute(NEXT_FREE, (orjson.dumps(list(functions)).decode(),)).fetchall()
    return {FunctionName(function): free_at / 1e6 for function, free_at in rows if free_at is not None}


def functions(file: sqlite3.Connection) -> frozenset[FunctionName]:
    """Return the functions that have events in the file."""
    return frozenset(FunctionName(function) for (function,) in file.execute(FUNCTIONS).fetchall())


def event_of(row: tuple[Any, ...]) -> Event:
    """Return the event of a row with the columns of TAKE. Raises DamagedRow if poller cannot have written the row."""
    row_id, function, request_id, accepted_at, due_at, attempts, postponements, stuck, rest, payload = row
    try:
        if not isinstance(payload, bytes):
            raise ValueError("the event has no payload")
        return Event(
            request_id=RequestId(request_id),
            function=FunctionName(function),
            payload=payload,
            accepted_at=accepted_at / 1e6,
            due_at=due_at / 1e6,
            attempts=attempts,
            postponements=postponements,
            stuck=stuck,
            **parse_rest(rest),
        )
    except (TypeError, ValueError) as error:
        raise DamagedRow(f"the event in row {row_id} cannot be read") from error


def microseconds(moment: float) -> int:
    return round(moment * 1e6)
