"""Can this program have written a row of the table of leases? Its key, checkpoint and details must fit together.

`model/lease.py` lists the kinds of rows. A row of another kind (`:KIND/…`) is accepted, because a newer version of this
program may have written it.
"""

from __future__ import annotations

from poller.core.streams.notation import parse_starting_position
from poller.model.arn import Arn
from poller.model.lease import Row
from poller.sqlite.kind import DamagedRow


def refuse_foreign(row: Row) -> None:
    """Raise DamagedRow if this program cannot have written the row."""
    kind, _, rest = row.key.partition("/")
    if not kind.startswith(":"):
        stream_arn, _, shard_id = rest.rpartition("/")
        if not (kind and _is_arn(stream_arn) and shard_id):
            raise DamagedRow(f"{row.key}: the key is not MAPPING/STREAM_ARN/SHARD_ID")
        if not isinstance(row.details.get("saved_at", 0), int | float):
            raise DamagedRow(f"{row.key}: saved_at is {row.details['saved_at']!r}, but must be a number")
        return
    if row.checkpoint is not None:
        raise DamagedRow(f"{row.key}: has a position, which only the row of a shard has")
    if kind == ":pause" and (not rest or "/" in rest):
        raise DamagedRow(f"{row.key}: the key is not :pause/MAPPING")
    if kind in (":start", ":begun", ":kcl"):
        mapping, _, stream_arn = rest.partition("/")
        if not (mapping and _is_arn(stream_arn)):
            raise DamagedRow(f"{row.key}: the key is not {kind}/MAPPING/STREAM_ARN")
    if kind == ":start":
        try:
            parse_starting_position(row.details.get("position"))
        except ValueError as error:
            raise DamagedRow(f"{row.key}: {error}") from error


def _is_arn(text: str) -> bool:
    try:
        Arn.parse(text)
    except ValueError:
        return False
    return True
