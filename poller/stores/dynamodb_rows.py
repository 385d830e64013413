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

import zlib
from base64 import b64decode, b64encode
from typing import Any

import orjson

from poller.core.streams.notation import format_position, parse_position
from poller.errors import Rejected
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import Checkpoint, Latest, Window
from poller.stores.dynamodb_items import KEY, Attribute, Item
from poller.stores.notation import rank

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
        details = orjson.loads(item["details"]["S"]) if "details" in item else {}
        if not isinstance(details, dict):
            raise ValueError("the details are not a JSON object")
        return Row(
            key=RowKey(key),
            counter=int(item["leaseCounter"]["N"]),
            owner=Owner(item["leaseOwner"]["S"]) if "leaseOwner" in item else None,
            token=int(item["fencingToken"]["N"]),
            checkpoint=_checkpoint(item) if "checkpoint" in item else None,
            details=details,
        )
    except (KeyError, ValueError, zlib.error) as error:
        raise Rejected(f"the item {key[:200]!r} was not written by poller", code="DamagedItem") from error


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
    """Return the window of an item, or None if it has none.

    Raises KeyError, ValueError or zlib.error if the window is damaged.
    """
    if "windowState" not in item:
        return None
    state = zlib.decompress(b64decode(item["windowState"]["B"]))
    return Window(int(item["windowStart"]["N"]), int(item["windowEnd"]["N"]), state)


def _checkpoint_attributes(checkpoint: Checkpoint) -> Item:
    position, window = checkpoint
    return {
        "checkpoint": {"S": format_position(position)},
        "checkpointRank": {"S": rank(position)},
        **window_attributes(window),
    }


def _checkpoint(item: Item) -> Checkpoint:
    position = parse_position(item["checkpoint"]["S"])
    if isinstance(position, Latest):
        raise ValueError("LATEST is not a checkpoint")
    return Checkpoint(position, window_of(item))


def _value_bytes(kind: str, value: Any) -> int:
    """Return the size of a value as DynamoDB counts it. If it is neither text nor bytes, a few bytes are added."""
    if not isinstance(value, str):
        return len(orjson.dumps(value))
    return len(value) * 3 // 4 if kind == "B" else len(value.encode())
