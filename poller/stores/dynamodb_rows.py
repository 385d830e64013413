"""How is a row of the table of leases stored in DynamoDB? It is one item, whose partition key is `leaseKey`.

    leaseKey, leaseCounter, leaseOwner        the row's key, counter and owner
    fencingToken                              its token
    checkpoint, checkpointRank                its position and the position's rank (`notation.py`)
    windowStart, windowEnd, windowState       the tumbling window that is open there; its state is compressed by zlib
    details                                   everything else, as a JSON object

An attribute without a value is left out. An item without a large window has less than 1 KB, so that each write of it
costs one write unit.

Source: Amazon DynamoDB Developer Guide, "Read/write capacity mode" and "Quotas".
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from typing import Any

import orjson

from poller.core.streams.notation import format_position, parse_position
from poller.errors import Rejected
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import TOO_LATE, Checkpoint, Latest, Window
from poller.stores.dynamodb_items import KEY, Attribute, Item
from poller.stores.notation import rank

WINDOW = ("windowStart", "windowEnd", "windowState")

LARGEST_COUNTER = 2**62
"""The largest counter and the largest token. A state file has room for it, and no row is written so often."""

WHOLE_NUMBER = re.compile(r"[0-9]{1,38}")

MAXIMUM_BYTES = 400 * 1024
"""The largest item. Source: Amazon DynamoDB Developer Guide, "Quotas"."""


def item_of(row: Row) -> Item:
    """Return the item of a row. Raises Rejected if it is larger than DynamoDB accepts."""
    item: dict[str, Attribute] = {
        KEY: {"S": row.key},
        "leaseCounter": {"N": str(row.counter)},
        "fencingToken": {"N": str(row.token)},
    }
    if row.owner is not None:
        item["leaseOwner"] = {"S": row.owner}
    if row.checkpoint is not None:
        item |= _checkpoint_attributes(row.checkpoint)
    if row.details:
        item["details"] = {"S": orjson.dumps(row.details).decode()}
    check_size(item)
    return item


def row_of(item: Item) -> Row:
    """Return the row of an item. Raises Rejected if this program cannot have written the item."""
    key = str(item.get(KEY, {}).get("S"))
    try:
        return Row(
            key=RowKey(key),
            counter=number_in(item, "leaseCounter", least=1),
            owner=Owner(text_in(item, "leaseOwner")) if "leaseOwner" in item else None,
            token=number_in(item, "fencingToken", least=0),
            checkpoint=_checkpoint(item),
            details=details_in(item, "details"),
        )
    except ValueError as error:
        raise Rejected(f"the item {key[:200]!r} was not written by poller: {error}", code="DamagedItem") from error


def text_in(item: Item, name: str) -> str:
    """Return the text of an attribute. Raises ValueError, with the rule, if it is missing or has another type."""
    text = item.get(name, {}).get("S")
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a text")
    return text


def number_in(item: Item, name: str, *, least: int, most: int = LARGEST_COUNTER) -> int:
    """Return the whole number of an attribute. Raises ValueError, with the rule, if it has none in this range."""
    text = item.get(name, {}).get("N")
    if not (isinstance(text, str) and WHOLE_NUMBER.fullmatch(text) and least <= int(text) <= most):
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def details_in(item: Item, name: str) -> dict[str, Any]:
    """Return the details of a row, or none if there is no such attribute. Raises ValueError with the rule."""
    if name not in item:
        return {}
    try:
        details = orjson.loads(text_in(item, name))
    except orjson.JSONDecodeError:
        details = None
    if not isinstance(details, dict):
        raise ValueError(f"{name} must be a JSON object")
    return details


def check_size(item: Item) -> None:
    """Raise Rejected if the item is larger than DynamoDB accepts."""
    values = [(name, kind, value) for name, typed in item.items() for kind, value in typed.items()]
    size = sum(len(name) + _value_bytes(kind, value) for name, kind, value in values)
    if size > MAXIMUM_BYTES:
        text = f"the row {item[KEY]['S']} has {size} bytes, and an item of DynamoDB has at most {MAXIMUM_BYTES}"
        hint = ": the state of its tumbling window is too large" if "windowState" in item else ""
        raise Rejected(text + hint, code="ItemTooLarge")


def window_attributes(window: Window | None) -> Item:
    if window is None:
        return {}
    return {
        "windowStart": {"N": str(window.start)},
        "windowEnd": {"N": str(window.end)},
        "windowState": {"B": b64encode(zlib.compress(window.state)).decode()},
    }


def window_of(item: Item) -> Window | None:
    """Return the window of an item, or None if it has none. Raises ValueError, with the rule, if it is damaged."""
    if item.keys().isdisjoint(WINDOW):
        return None
    start, end = (number_in(item, name, least=0, most=TOO_LATE - 1) for name in ("windowStart", "windowEnd"))
    try:
        state = zlib.decompress(b64decode(item["windowState"]["B"], validate=True))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError("windowState must be bytes that zlib has compressed") from error
    return Window(start, end, state)


def _checkpoint_attributes(checkpoint: Checkpoint) -> Item:
    position, window = checkpoint
    return {
        "checkpoint": {"S": format_position(position)},
        "checkpointRank": {"S": rank(position)},
        **window_attributes(window),
    }


def _checkpoint(item: Item) -> Checkpoint | None:
    if item.keys().isdisjoint(("checkpoint", "checkpointRank", *WINDOW)):
        return None
    position = parse_position(text_in(item, "checkpoint"))
    if isinstance(position, Latest):
        raise ValueError("LATEST is not a checkpoint")
    return Checkpoint(position, window_of(item))


def _value_bytes(kind: str, value: Any) -> int:
    """Return the size of a value as DynamoDB counts it. If it is neither text nor bytes, a few bytes are added."""
    if not isinstance(value, str):
        return len(orjson.dumps(value))
    return len(value) * 3 // 4 if kind == "B" else len(value.encode())
