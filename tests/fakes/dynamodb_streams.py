"""Which fake replaces DynamoDB Streams? Tables that record their changes, and a service with DynamoDB's own JSON.

It does what every stream does (`tests/fakes/stream.py`), and has these properties of DynamoDB:

    tables      a put makes an INSERT or a MODIFY, and a delete makes a REMOVE, which also says if it was by time to
                live. A write without a change makes no record. The view type says which images a record has
    shards      roll over after four hours, or when a test asks for it, into one child or several
    listings    a page has at most 100 shards, and begins after a given shard. There are ten calls a second for all
                streams if the test sets this limit (`listings_in_a_second`). A filter selects the children of one
                shard; older services refuse or ignore the filter
    iterators   may begin at a time, which older services refuse. They are valid for 15 minutes. A trimmed position is
                refused, both for a new iterator and for a read
    reads       an answer has at most 1,000 records and 1 MB. It says neither how far it is behind the end of the shard,
                nor which children the shard has

Simpler than DynamoDB: there may be any number of readers, the size of a record is the size of its JSON, and disabling
takes no time. It is often said that a shard lives for four hours, but DynamoDB does not promise it.

Sources: Amazon DynamoDB Streams API Reference, "DescribeStream", "GetShardIterator", "GetRecords"; Amazon DynamoDB
Developer Guide, "Change data capture for DynamoDB Streams".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor
from random import Random
from typing import Any, Literal

import anyio
import orjson

from poller.errors import Rejected
from poller.model.arn import Arn
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from tests.fakes.clock import EPOCH
from tests.fakes.stream import FakeShard, FakeStream, Stored
from tests.fakes.stream_service import ACCOUNT, REGION, Cursor, FakeStreamService

RECORDS_IN_AN_ANSWER = 1_000
BYTES_IN_AN_ANSWER = 1_000_000
SHARDS_IN_A_PAGE = 100
SHARD_LIFETIME_IN_SECONDS = 14_400.0
LENGTH_OF_NUMBERS = 21

Item = dict[str, dict[str, Any]]
"""Attributes by name, as DynamoDB's JSON: `{"id": {"S": "a"}}`."""

Change = Literal["INSERT", "MODIFY", "REMOVE"]
ViewType = Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"]


@dataclass(eq=False, kw_only=True)
class FakeTable:
    """A table and its stream.

    Each method that writes returns the sequence number of its record, or None if nothing changed.
    """

    stream: FakeStream
    key_names: tuple[str, ...] = ("id",)
    view_type: ViewType = "NEW_AND_OLD_IMAGES"
    is_enabled: bool = True
    items: dict[bytes, Item] = field(default_factory=dict)

    def put_item(self, item: Item) -> str | None:
        key = self._key(item)
        old = self.items.get(key)
        if old == item:
            return None
        self.items[key] = item
        return self._write("INSERT" if old is None else "MODIFY", old, item)

    def delete_item(self, key: Item, *, is_by_age: bool = False) -> str | None:
        """Delete an item. With `is_by_age`, DynamoDB deletes it by time to live."""
        old = self.items.pop(self._key(key), None)
        return None if old is None else self._write("REMOVE", old, None, is_by_age=is_by_age)

    def roll_over(self, *, children: int = 1) -> list[str]:
        """Let every open shard roll over now. Return the ids of the children."""
        now = anyio.current_time()
        open_shards = [shard for shard in self.stream.shards(now=now) if shard.is_open]
        return [
            child
            for shard in open_shards
            for child in self.stream.roll_over(shard.shard_id, now=now, children=children)
        ]

    def roll_over_for(self, key: str) -> list[str]:
        """Let the shard of one item roll over now. `key` is the text of the item's key. Return the id of the child."""
        now, hash_key = anyio.current_time(), _hash_key({self.key_names[0]: {"S": key}})
        [shard] = [
            shard
            for shard in self.stream.shards(now=now)
            if shard.is_open and shard.hash_keys[0] <= hash_key <= shard.hash_keys[1]
        ]
        return self.stream.roll_over(shard.shard_id, now=now)

    def disable(self) -> None:
        """Close the stream. Its records can still be read for 24 hours."""
        self.is_enabled = False
        self.stream.end(now=anyio.current_time())

    def _key(self, item: Item) -> bytes:
        return orjson.dumps({name: item[name] for name in self.key_names})

    def _write(self, change: Change, old: Item | None, new: Item | None, *, is_by_age: bool = False) -> str | None:
        if not self.is_enabled:
            return None
        item = new or old
        assert item is not None
        images = {"NewImage": new, "OldImage": old}
        shown = {
            "KEYS_ONLY": (),
            "NEW_IMAGE": ("NewImage",),
            "OLD_IMAGE": ("OldImage",),
            "NEW_AND_OLD_IMAGES": ("NewImage", "OldImage"),
        }[self.view_type]
        keys = {name: item[name] for name in self.key_names}
        seen = {"Keys": keys} | {name: images[name] for name in shown if images[name] is not None}
        size = len(orjson.dumps(seen))
        content = {
            "eventID": f"{self.stream.randomness.getrandbits(128):032x}",
            "eventName": change,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": REGION,
            "dynamodb": seen | {"SizeBytes": size, "StreamViewType": self.view_type},
        }
        if is_by_age:
            content["userIdentity"] = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        now = anyio.current_time()
        return self.stream.put(content, key=_key(keys).decode(), hash_key=_hash_key(keys), size=size, now=now)[1]


class FakeDynamoDbStreams(FakeStreamService):
    """The streams of one account's tables in one region.

    `filters` says what the service does with a filter of shards. `finds_times` is false for a service that does not
    know the iterator type AT_TIMESTAMP.
    """

    iterator_lifetime_in_seconds = 900.0
    throttling_code = "ThrottlingException"

    def __init__(
        self,
        *,
        filters: Literal["known", "ignored", "refused"] = "known",
        finds_times: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.finds_times = finds_times
        self.filters = filters
        self._tables: dict[str, FakeTable] = {}

    def create_table(
        self,
        name: str,
        *,
        key_names: tuple[str, ...] = ("id",),
        view_type: ViewType = "NEW_AND_OLD_IMAGES",
        **settings: Any,
    ) -> FakeTable:
        """Create a table. `settings` are fields of FakeStream, such as `shard_count`."""
        label = f"2026-01-01T00:00:{len(self.streams):06.3f}"
        resource = f"table/{name}/stream/{label}"
        arn = Arn(partition="aws", service="dynamodb", region=REGION, account=ACCOUNT, resource=resource)
        defaults = {
            "seed": self.seed + len(self.streams),
            "created_at": anyio.current_time(),
            "shard_lifetime_in_seconds": SHARD_LIFETIME_IN_SECONDS,
        }
        stream = FakeStream(
            arn=arn,
            new_shard_id=_shard_id,
            length_of_numbers=LENGTH_OF_NUMBERS,
            refuses_trimmed=True,
            **defaults | settings,
        )
        self.streams[str(arn)] = stream
        table = FakeTable(stream=stream, key_names=key_names, view_type=view_type)
        self._tables[str(arn)] = table
        return table

    def source(self, table: FakeTable, **options: Any) -> DynamoDbStreamsSource:
        """Return the real source over the table's stream. `options` are arguments of DynamoDbStreamsSource."""
        settings: dict[str, Any] = {"client": self, "arn": table.stream.arn}
        return DynamoDbStreamsSource(**settings | options)

    def answer(self, operation: str, request: Mapping[str, Any], now: float) -> Any:
        match operation:
            case "DescribeStream":
                return {"StreamDescription": self._describe(request, now)}
            case "GetShardIterator":
                return self._get_shard_iterator(request, now)
            case "GetRecords":
                return self._get_records(request, now)
        raise Rejected(f"unknown operation {operation}", code="UnknownOperationException")

    def sequence_number(self, wire: Mapping[str, Any]) -> str:
        return str(wire["dynamodb"]["SequenceNumber"])

    def _describe(self, request: Mapping[str, Any], now: float) -> Any:
        self.limit_listings(now)
        stream = self.stream(request["StreamArn"], now)
        table = self._tables[request["StreamArn"]]
        count = request.get("Limit", SHARDS_IN_A_PAGE)
        if not 1 <= count <= SHARDS_IN_A_PAGE:
            raise Rejected("Limit is out of range", code="ValidationException")
        shards = stream.shards(now=now)
        if "ShardFilter" in request and self.filters != "ignored":
            if self.filters == "refused":
                raise Rejected("Unknown parameter: ShardFilter", code="ValidationException")
            assert request["ShardFilter"]["Type"] == "CHILD_SHARDS"
            parent = stream.shard(request["ShardFilter"]["ShardId"])
            shards = [shard for shard in shards if parent.shard_id in shard.parent_ids]
        start = request.get("ExclusiveStartShardId")
        if start is not None:
            shards = [shard for shard in shards if shard.shard_id > start]
        description = {
            "StreamArn": str(stream.arn),
            "StreamStatus": "ENABLED" if table.is_enabled else "DISABLED",
            "StreamViewType": table.view_type,
            "Shards": [_wire_shard(shard) for shard in shards[:count]],
        }
        if len(shards) > count:
            description["LastEvaluatedShardId"] = shards[count - 1].shard_id
        return description

    def _get_shard_iterator(self, request: Mapping[str, Any], now: float) -> Any:
        stream, number = self.stream(request["StreamArn"], now), request.get("SequenceNumber")
        kind = request["ShardIteratorType"]
        if kind == "AT_TIMESTAMP" and not self.finds_times:
            raise Rejected("ShardIteratorType is not valid", code="ValidationException")
        place = stream.place(
            request["ShardId"],
            kind,
            now=now,
            sequence_number=None if number is None else int(number),
            arrived_at=request["Timestamp"] - self.epoch if "Timestamp" in request else None,
        )
        return {"ShardIterator": Cursor(str(stream.arn), request["ShardId"], place, now).token()}

    def _get_records(self, request: Mapping[str, Any], now: float) -> Any:
        cursor = Cursor.of(request["ShardIterator"])
        limit = request.get("Limit", RECORDS_IN_AN_ANSWER)
        if not 1 <= limit <= RECORDS_IN_AN_ANSWER:
            raise Rejected("Limit is out of range", code="ValidationException")
        page = self.read(cursor, limit=limit, maximum_bytes=BYTES_IN_AN_ANSWER, now=now)
        answer: dict[str, Any] = {"Records": [_wire(record, self.epoch) for record in page.records]}
        if page.next_place is not None:
            answer["NextShardIterator"] = cursor._replace(place=page.next_place, issued_at=now).token()
        return answer


def _key(keys: Item) -> bytes:
    return orjson.dumps(keys, option=orjson.OPT_SORT_KEYS)


def _hash_key(keys: Item) -> int:
    return int.from_bytes(hashlib.md5(_key(keys), usedforsecurity=False).digest(), "big")


def _shard_id(serial: int, now: float, randomness: Random) -> str:
    """Return a shard id: the time in milliseconds with twenty digits, a random part, and a serial number."""
    return f"shardId-{round((EPOCH + now) * 1000) + serial:020d}-{randomness.getrandbits(32):08x}"


def _wire(record: Stored, epoch: float) -> dict[str, Any]:
    change = {
        "ApproximateCreationDateTime": float(floor(epoch + record.arrived_at)),
        "SequenceNumber": str(record.sequence_number),
    }
    content: dict[str, Any] = record.content
    return content | {"dynamodb": change | content["dynamodb"]}


def _wire_shard(shard: FakeShard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(shard.starts_at)}
    if shard.ends_at is not None:
        numbers["EndingSequenceNumber"] = str(shard.ends_at)
    wire: dict[str, Any] = {"ShardId": shard.shard_id, "SequenceNumberRange": numbers}
    return wire | ({"ParentShardId": shard.parent_ids[0]} if shard.parent_ids else {})
