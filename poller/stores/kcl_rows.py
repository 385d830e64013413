"""How is an item in the table of a KCL 2.x application read as a row of a lease, and how is a row written back?

A team that comes from the Kinesis Client Library keeps its checkpoints in this way, and can go back.

    KCL's attribute                                the row
    leaseKey                                       the end of the key MAPPING/STREAM_ARN/SHARD_ID
    leaseCounter                                   counter - 1: KCL's new rows have 0
    leaseOwner                                     owner
    checkpoint, checkpointSubSequenceNumber        checkpoint, see below
    parentShardId, childShardIds (string sets)     details: parents, children
    ownerSwitchesSinceCheckpoint                   counted as KCL does it
    entityType other than LEASE                    the item is not a lease: it is skipped and never touched

    checkpoint of KCL           our position
    TRIM_HORIZON                TrimHorizon
    AT_TIMESTAMP                AtTimestamp of the mapping's settings, or TrimHorizon: the table does not have the time
    LATEST                      AtTimestamp of the moment when this store was opened
    SHARD_END                   ShardEnd
    a number n                  AfterSequence(n)
    a number n, subsequence k   AtSequence(n): KCL has done a part of the aggregated record n, and we read it again

Our token, details and windows have attributes of their own, which KCL neither reads nor changes. `pollerPosition` is
the position that we stored last. If it no longer fits KCL's checkpoint, KCL has moved on, and our position and window
do not count any more.
An update writes only what has changed. So a checkpoint of KCL stays as KCL wrote it until we have a new one.

Source: amazon-kinesis-client, `DynamoDBLeaseSerializer`, `ExtendedSequenceNumber`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, assert_never

import orjson

from poller.core.streams.notation import DIGITS, format_position, parse_position
from poller.errors import Rejected
from poller.model.lease import UNLISTED_PARENTS, Detail, Owner, Row, RowKey
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    ShardId,
    StateKey,
    TrimHorizon,
)
from poller.stores.dynamodb_items import KEY, Attribute, Item
from poller.stores.dynamodb_rows import (
    WINDOW,
    check_size,
    details_in,
    number_in,
    text_in,
    window_attributes,
    window_of,
)

PENDING = ("pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState")
"""A checkpoint that KCL has prepared and not stored yet. It ends with the next checkpoint."""

OUR_OWNER = re.compile(r".*/[0-9a-f]{32}")
"""The form of the owner of a lease that poller holds (`model/lease.py`)."""

RELATIVES = {"parents": "parentShardId", "children": "childShardIds"}


class Meaning(NamedTuple):
    """What the items of a table mean: the mapping and stream, and the times for LATEST and AT_TIMESTAMP.

    Times are in epoch seconds. `at_timestamp` is the time of the mapping's starting position, or None.
    """

    state_key: StateKey
    latest: float
    at_timestamp: float | None

    def row_key(self, shard_id: str) -> RowKey:
        return RowKey(f"{self.state_key.mapping}/{self.state_key.stream_arn}/{shard_id}")

    def shard_id(self, key: RowKey) -> ShardId:
        prefix, _, shard_id = key.rpartition("/")
        assert prefix == f"{self.state_key.mapping}/{self.state_key.stream_arn}", f"{key} is not of this mapping"
        return ShardId(shard_id)


def is_lease(item: Item) -> bool:
    """Return whether KCL counts the item as a lease. KCL 3 stores other things in the same table."""
    return item.get("entityType", {"S": "LEASE"}).get("S") == "LEASE"


def row_of(item: Item, meaning: Meaning) -> Row:
    """Return the row of a lease. Raises Rejected if the item is not a lease of a shard."""
    shard_id = str(item.get(KEY, {}).get("S"))
    if ":" in shard_id and "/" not in shard_id:
        text = (
            f"the lease {shard_id[:200]!r} is of a KCL application that reads several streams, which is not supported"
        )
        raise Rejected(text, code="SeveralStreams")
    try:
        if "/" in shard_id:
            raise ValueError("a slash is in the keys of poller's own rows only")
        _switches(item)
        return Row(
            key=meaning.row_key(shard_id),
            counter=number_in(item, "leaseCounter", least=0) + 1,
            owner=Owner(text_in(item, "leaseOwner")) if "leaseOwner" in item else None,
            token=number_in(item, "fencingToken", least=0) if "fencingToken" in item else 0,
            checkpoint=_checkpoint(item, meaning),
            details=_details(item),
        )
    except ValueError as error:
        text = f"the lease {shard_id[:200]!r} cannot be read as one of KCL: {error}"
        raise Rejected(text, code="DamagedItem") from error


def renewed_by_kcl(before: Iterable[Row], after: Iterable[Row]) -> list[RowKey]:
    """Return the leases that a worker of KCL has written between two scans."""
    counters = {row.key: row.counter for row in before}
    return [row.key for row in after if is_of_kcl(row) and counters.get(row.key) != row.counter]


def is_of_kcl(row: Row) -> bool:
    """Return whether a worker of KCL owns the lease: its owner does not have the form of an owner of poller."""
    return row.owner is not None and not OUR_OWNER.fullmatch(row.owner)


def new_item(row: Row, meaning: Meaning) -> Item:
    """Return the item of a new row, as KCL creates one."""
    assert row.checkpoint is not None, f"{row.key}: a lease of KCL has a checkpoint"
    item: dict[str, Attribute] = {
        KEY: {"S": meaning.shard_id(row.key)},
        "leaseCounter": {"N": str(row.counter - 1)},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        **_checkpoint_attributes(row.checkpoint),
        **_detail_attributes(row.details),
    }
    if row.owner is not None:
        item["leaseOwner"] = {"S": row.owner}
    if row.token:
        item["fencingToken"] = {"N": str(row.token)}
    check_size(item)
    return item


def changed_item(item: Item, row: Row, meaning: Meaning) -> Item:
    """Return the item as `row` changes it. Attributes that neither KCL nor poller knows stay as they are."""
    before = row_of(item, meaning)
    assert before.key == row.key, f"{before.key} does not become {row.key}"
    changed = {
        name: value for name, value in item.items() if name not in ("leaseOwner", "pollerDetails", *RELATIVES.values())
    }
    changed |= {"leaseCounter": {"N": str(row.counter - 1)}, **_detail_attributes(row.details)}
    if row.owner is not None:
        changed["leaseOwner"] = {"S": row.owner}
    if row.token != before.token:
        changed["fencingToken"] = {"N": str(row.token)}
    if row.owner != before.owner:
        changed.pop("checkpointOwner", None)  # a previous owner that KCL still allowed to store a checkpoint
        if row.owner is not None and before.owner is not None:
            changed["ownerSwitchesSinceCheckpoint"] = {"N": str(_switches(item) + 1)}
    if row.checkpoint != before.checkpoint:
        assert row.checkpoint is not None, f"{row.key}: a lease of KCL has a checkpoint"
        changed = {name: value for name, value in changed.items() if name not in (*PENDING, *WINDOW, "pollerPosition")}
        changed |= {**_checkpoint_attributes(row.checkpoint), "ownerSwitchesSinceCheckpoint": {"N": "0"}}
    elif before.checkpoint is not None and isinstance(before.checkpoint.position, AtTimestamp):
        # The time that stands for LATEST must not change at the next start.
        changed["pollerPosition"] = {"S": format_position(before.checkpoint.position)}
    check_size(changed)
    return changed


def _checkpoint(item: Item, meaning: Meaning) -> Checkpoint:
    ours = _own_position(item)
    return Checkpoint(_position(*_of_kcl(item), meaning)) if ours is None else Checkpoint(ours, window_of(item))


def _own_position(item: Item) -> Position | None:
    """Return the position that poller has stored last, or None if KCL has moved on since then."""
    if "pollerPosition" not in item:
        return None
    ours, (text, subsequence) = parse_position(text_in(item, "pollerPosition")), _of_kcl(item)
    if isinstance(ours, Latest):
        raise ValueError("LATEST is not a position that poller stores")
    return ours if subsequence == 0 and text in _spellings(ours) else None


def _of_kcl(item: Item) -> tuple[str, int]:
    """Return the checkpoint of KCL and its subsequence number."""
    name = "checkpointSubSequenceNumber"
    return text_in(item, "checkpoint"), number_in(item, name, least=0) if name in item else 0


def _switches(item: Item) -> int:
    """Return how often the owner has changed since the last checkpoint."""
    name = "ownerSwitchesSinceCheckpoint"
    return number_in(item, name, least=0) if name in item else 0


def _position(text: str, subsequence: int, meaning: Meaning) -> Position:
    match text:
        case "TRIM_HORIZON":
            return TrimHorizon()
        case "LATEST":
            return AtTimestamp(meaning.latest)
        case "AT_TIMESTAMP":
            return TrimHorizon() if meaning.at_timestamp is None else AtTimestamp(meaning.at_timestamp)
        case "SHARD_END":
            return ShardEnd()
    number = SequenceNumber(text)
    if not DIGITS.fullmatch(number):
        raise ValueError("checkpoint must be a sequence number, TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END")
    return AtSequence(number) if subsequence > 0 else AfterSequence(number)


def _spellings(position: Position) -> tuple[str, ...]:
    """Return the KCL checkpoints that fit a position that poller stores.

    If KCL's checkpoint is one of them, our position counts.
    """
    return ("AT_TIMESTAMP", "LATEST") if isinstance(position, AtTimestamp) else (_spelling(position),)


def _spelling(position: Position) -> str:
    """Return KCL's spelling of a position that we store."""
    match position:
        case TrimHorizon():
            return "TRIM_HORIZON"
        case AtTimestamp():
            return "AT_TIMESTAMP"
        case ShardEnd():
            return "SHARD_END"
        case AfterSequence(number):
            return number
        case AtSequence(number):
            text = f"KCL continues after a record, and cannot continue with the record {number} itself"
            raise Rejected(text, code="NotInKcl")
        case Latest():
            return "LATEST"
        case _:
            assert_never(position)


def _checkpoint_attributes(checkpoint: Checkpoint) -> Item:
    attributes: dict[str, Attribute] = {
        "checkpoint": {"S": _spelling(checkpoint.position)},
        "checkpointSubSequenceNumber": {"N": "0"},
        **window_attributes(checkpoint.window),
    }
    if not isinstance(checkpoint.position, Latest):  # the next start reads LATEST as the time of that start
        attributes["pollerPosition"] = {"S": format_position(checkpoint.position)}
    return attributes


def _details(item: Item) -> dict[str, Detail]:
    details: dict[str, Detail] = details_in(item, "pollerDetails")
    if "leaseOwner" in item and not OUR_OWNER.fullmatch(text_in(item, "leaseOwner")):
        details.pop("read_since", None)  # poller stored it before the KCL worker took the lease
    if UNLISTED_PARENTS in details and _own_position(item) is None:
        del details[UNLISTED_PARENTS]  # KCL reads a shard after its parents, and may have deleted their rows
    for name, attribute in RELATIVES.items():
        if attribute in item:
            shard_ids = item[attribute].get("SS")
            if not isinstance(shard_ids, list):
                raise ValueError(f"{attribute} must be a set of texts")
            details[name] = sorted(shard_ids)
    return details


def _detail_attributes(details: Mapping[str, Detail]) -> Item:
    """Return the attributes for the details of a row. An empty set is left out, because DynamoDB refuses one."""
    attributes: dict[str, Attribute] = {
        attribute: {"SS": shard_ids} for name, attribute in RELATIVES.items() if (shard_ids := details.get(name))
    }
    if others := {name: value for name, value in details.items() if name not in RELATIVES}:
        attributes["pollerDetails"] = {"S": orjson.dumps(others).decode()}
    return attributes
