"""How is a row of the table of leases stored in the file? It is one row of the table `lease` (`schema.py`).

Each function does its work by one statement or two, however many rows there are, so that the thread seldom waits for
Python's global lock. Call it inside a transaction, so that no other process writes between two statements.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import orjson

from poller.core.streams.notation import format_position, parse_position
from poller.model.lease import Owner, Row, RowKey, time_in
from poller.model.stream import Checkpoint, Latest, Position, Window
from poller.sqlite.kind import DamagedRow
from poller.stores.notation import rank, refuse_to_move_back
from poller.stores.row_kinds import refuse_foreign

SCAN = """
SELECT key, counter, owner, token, position, rank, window_start, window_end, window_state, details FROM lease
"""

READ = """
SELECT key, counter, owner, token, position, rank, window_start, window_end, window_state, details FROM lease
WHERE key IN (SELECT value FROM json_each(?))
"""

CREATE = """
INSERT INTO lease (key, counter, owner, token, position, rank, window_start, window_end, window_state, details)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
    json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]'), json_extract(value, '$[9]')
FROM json_each(?) WHERE true
ON CONFLICT (key) DO NOTHING RETURNING key
"""

UPDATE = """
UPDATE lease SET counter = json_extract(value, '$[1]'), owner = json_extract(value, '$[2]'),
    token = json_extract(value, '$[3]'), position = json_extract(value, '$[4]'), rank = json_extract(value, '$[5]'),
    window_start = json_extract(value, '$[6]'), window_end = json_extract(value, '$[7]'),
    window_state = json_extract(value, '$[8]'), details = json_extract(value, '$[9]')
FROM json_each(?) AS new
WHERE lease.key = json_extract(value, '$[0]') AND lease.counter = json_extract(value, '$[1]') - 1
RETURNING lease.key
"""

DELETE = """
DELETE FROM lease WHERE (key, counter) IN
    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
RETURNING key
"""

DELETE_FORMER = """
DELETE FROM lease WHERE (key, counter) IN
    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') - 1 FROM json_each(?))
RETURNING key
"""

EXISTING = "SELECT key FROM lease WHERE key IN (SELECT value FROM json_each(?))"

FREE = "UPDATE lease SET owner = NULL, counter = counter + 1 WHERE owner IS NOT NULL"

FORGET_WORKERS = "DELETE FROM lease WHERE key GLOB ':worker/*'"


class Batch(NamedTuple):
    """The rows of one call, and their values as JSON."""

    rows: Collection[Row]
    values: str


def batch(rows: Collection[Row]) -> Batch:
    assert len({row.key for row in rows}) == len(rows), "a call writes a row once"
    return Batch(rows, _json(list(map(_columns, rows))))


def scan(file: sqlite3.Connection) -> list[Row]:
    return list(map(_row_of, file.execute(SCAN).fetchall()))


def read(file: sqlite3.Connection, keys: Collection[RowKey]) -> dict[RowKey, Row]:
    rows = map(_row_of, file.execute(READ, (_json(list(keys)),)).fetchall())
    return {row.key: row for row in rows}


def create(file: sqlite3.Connection, new: Batch) -> frozenset[RowKey]:
    """Add the rows. Return the keys that already existed."""
    return _other_keys(new, file.execute(CREATE, (new.values,)))


def create_groups(file: sqlite3.Connection, groups: Iterable[Batch]) -> frozenset[RowKey]:
    """Add the rows of the groups, up to the first group with keys that already existed. Return these keys."""
    for new in groups:
        if existing := create(file, new):
            return existing
    return frozenset()


def update(file: sqlite3.Connection, new: Batch) -> frozenset[RowKey]:
    """Replace each row whose stored counter is `row.counter - 1`. Return the keys of all other rows.

    Raises CheckpointMovedBack if one of the checkpoints would move back or be removed, and then changes nothing.
    """
    try:
        return _other_keys(new, file.execute(UPDATE, (new.values,)))
    except sqlite3.IntegrityError:
        stored = read(file, [row.key for row in new.rows])
        for row in new.rows:
            refuse_to_move_back(stored.get(row.key), row)
        raise


def overwrite(file: sqlite3.Connection, new: Batch) -> frozenset[RowKey]:
    """Do the same as `update`, but a checkpoint may move back or be removed.

    The file refuses to update a row in this way, so the row is deleted and inserted again.
    """
    deleted = {key for (key,) in file.execute(DELETE_FORMER, (new.values,)).fetchall()}
    create(file, batch([row for row in new.rows if row.key in deleted]))
    return frozenset(row.key for row in new.rows if row.key not in deleted)


def delete(file: sqlite3.Connection, old: Batch) -> frozenset[RowKey]:
    """Delete the rows whose stored counter is the same. Return the other keys that exist."""
    others = _other_keys(old, file.execute(DELETE, (old.values,)))
    return frozenset(key for (key,) in file.execute(EXISTING, (_json(list(others)),)).fetchall())


def free_all(file: sqlite3.Connection) -> None:
    """End all leases, and delete the rows of all workers. Only for a process that knows that all workers are dead."""
    file.execute(FORGET_WORKERS)
    file.execute(FREE)


def check(file: sqlite3.Connection) -> None:
    """Read every row. Raises DamagedRow for a row that this program cannot have written."""
    for values in file.execute(SCAN):
        row, its_rank = _row_of(values), values[5]
        if row.checkpoint is not None and its_rank != rank(row.checkpoint.position):
            raise DamagedRow(f"{row.key}: {values[4]!r} does not have the rank {its_rank!r}")
        refuse_foreign(row)


def _columns(row: Row) -> tuple[Any, ...]:
    position = window = None
    if row.checkpoint is not None:
        position, window = row.checkpoint
    start, end, state = (None, None, None) if window is None else (window.start, window.end, window.state.decode())
    return (
        *(row.key, row.counter, row.owner, row.token),
        *((None, None) if position is None else (format_position(position), rank(position))),
        *(start, end, state),
        _json(row.details),
    )


def _row_of(values: tuple[Any, ...]) -> Row:
    key, counter, owner, token, text, _, start, end, state, details = values
    if not (isinstance(counter, int) and counter > 0):
        raise DamagedRow(f"{key}: the counter is {counter!r}, but must be a whole number above 0")
    if not (isinstance(token, int) and token >= 0):
        raise DamagedRow(f"{key}: the token is {token!r}, but must be a whole number")
    checkpoint = None
    if text is not None:
        position = _position_of(key, text)
        if isinstance(position, Latest):
            raise DamagedRow(f"{key}: LATEST is not a checkpoint")
        checkpoint = Checkpoint(position, _window_of(key, start, end, state))
    return Row(
        key=RowKey(key),
        counter=counter,
        owner=None if owner is None else Owner(owner),
        token=token,
        checkpoint=checkpoint,
        details=_details_of(key, details),
    )


def _details_of(key: str, text: Any) -> dict[str, Any]:
    try:
        details = orjson.loads(text)
    except ValueError:
        details = None
    if not isinstance(details, dict):
        raise DamagedRow(f"{key}: the details are not a JSON object")
    return details


def _other_keys(asked: Batch, written: sqlite3.Cursor) -> frozenset[RowKey]:
    return frozenset(row.key for row in asked.rows) - {key for (key,) in written.fetchall()}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _window_of(whose: str, start: Any, end: Any, state: Any) -> Window | None:
    """Return the window with these stored values, or None if all values are None.

    Raises DamagedRow if they fit no window.
    """
    if (start, end, state) == (None, None, None):
        return None
    are_times = all(isinstance(moment, int) and time_in(moment) is not None for moment in (start, end))
    if not (are_times and _is_json(state)):
        raise DamagedRow(f"{whose}: the window is not whole")
    return Window(start=start, end=end, state=state.encode())


def _position_of(whose: str, text: Any) -> Position:
    """Parse a stored position. Raises DamagedRow if the text is not a position."""
    try:
        return parse_position(text)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedRow(f"{whose}: {str(text)[:100]!r} is not a position") from error


def _is_json(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:  # orjson rejects half of a surrogate pair, which json accepts
        try:
            json.loads(text)
        except ValueError:
            return False
    return True
