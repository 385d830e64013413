"""Which fake replaces Kinesis? A service in memory with Kinesis's own JSON, on anyio's clock.

It does what every stream does (`tests/fakes/stream.py`), and has these limits of Kinesis:

    reads       five a second for each shard; an answer has at most 10,000 records and 10 MiB. A shard allows 2 MiB a
                second: after a larger read, reads are refused until the time for it has passed (10 MiB: five seconds)
    iterators   five a second for each shard; an iterator is valid for five minutes
    listings    a hundred a second if the test sets this limit (`listings_in_a_second`); the token of a page is valid
                for 300 seconds, and a request with a token must not have the stream's name or ARN

A throttled call does not count against a limit. With `has_limits=False`, a service has no limits, for tests that must
not wait.

Simpler than Kinesis: creating and resharding a stream takes no time. Filters of listings, consumers, encryption, tags
and everything else that no test needs are missing.

Sources: Amazon Kinesis Data Streams API Reference, "GetRecords", "GetShardIterator", "ListShards"; Amazon Kinesis Data
Streams Developer Guide, "Quotas and limits".
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections import defaultdict, deque
from collections.abc import Mapping
from random import Random
from typing import Any

import anyio
import orjson

from poller.errors import Rejected, Throttled
from poller.model.arn import Arn, stream_arn
from poller.sources.kinesis import KinesisSource, Reader
from tests.fakes.stream import FakeShard, FakeStream, Stored
from tests.fakes.stream_service import ACCOUNT, REGION, Cursor, FakeStreamService

CALLS_IN_A_SECOND = 5
BYTES_IN_A_SECOND = 2 * 1024 * 1024
BYTES_IN_AN_ANSWER = 10 * 1024 * 1024
RECORDS_IN_AN_ANSWER = 10_000
TOKEN_LIFETIME_IN_SECONDS = 300.0
LENGTH_OF_NUMBERS = 55
INVOKE_IDENTITY_ARN = f"arn:aws:iam::{ACCOUNT}:role/reader"


def always(arn: str) -> Reader:
    """Return a `reader` for KinesisSource that always returns this ARN."""

    async def reader() -> str:
        return arn

    return reader


class FakeKinesis(FakeStreamService):
    """Streams of one account in one region."""

    iterator_lifetime_in_seconds = 300.0
    throttling_code = "ProvisionedThroughputExceededException"

    def __init__(self, *, has_limits: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self._has_limits = has_limits
        self._last_numbers: dict[str, int] = {}
        self._calls: defaultdict[tuple[str, str, str], deque[float]] = defaultdict(deque)
        self._paid_until: dict[tuple[str, str], float] = {}
        self._refused_until: dict[tuple[str, str], float] = {}

    def create_stream(self, name: str, **settings: Any) -> FakeStream:
        """Create a stream. `settings` are fields of FakeStream, such as `shard_count`."""
        arn = Arn(partition="aws", service="kinesis", region=REGION, account=ACCOUNT, resource=f"stream/{name}")
        defaults = {
            "seed": self.seed + len(self.streams),
            "created_at": anyio.current_time(),
            "numbers_after": self._last_numbers.get(str(arn)),
        }
        self.streams[str(arn)] = FakeStream(
            arn=arn, new_shard_id=_shard_id, length_of_numbers=LENGTH_OF_NUMBERS, **defaults | settings
        )
        return self.streams[str(arn)]

    def delete_stream(self, stream: FakeStream) -> None:
        self._last_numbers[str(stream.arn)] = stream.last_number
        del self.streams[str(stream.arn)]

    def put(self, stream: FakeStream, partition_key: str, data: bytes = b"", *, hash_key: int | None = None) -> str:
        """Put a record without faults, and return its sequence number. `hash_key` is Kinesis's explicit hash key."""
        return self._put(stream, partition_key, b64encode(data).decode(), hash_key, anyio.current_time())[1]

    def source(self, stream: FakeStream, **options: Any) -> KinesisSource:
        """Return the real source over the stream. `options` are arguments of KinesisSource."""
        settings: dict[str, Any] = {"arn": stream.arn, "reader": always(INVOKE_IDENTITY_ARN)}
        return KinesisSource(self, **settings | options)

    def answer(self, operation: str, request: Mapping[str, Any], now: float) -> Any:
        match operation:
            case "CreateStream":
                self.create_stream(request["StreamName"], shard_count=request["ShardCount"])
                return {}
            case "ListShards":
                return self._list_shards(request, now)
            case "GetRecords":
                return self._get_records(request, now)
        stream = self._named(request, now)
        match operation:
            case "DescribeStreamSummary":
                return {"StreamDescriptionSummary": {"StreamARN": str(stream.arn), "StreamStatus": "ACTIVE"}}
            case "PutRecord":
                hash_key = request.get("ExplicitHashKey")
                content = (request["PartitionKey"], request["Data"], None if hash_key is None else int(hash_key))
                shard_id, sequence_number = self._put(stream, *content, now)
                return {"ShardId": shard_id, "SequenceNumber": sequence_number}
            case "SplitShard":
                stream.split(request["ShardToSplit"], hash_key=int(request["NewStartingHashKey"]), now=now)
                return {}
            case "MergeShards":
                stream.merge(request["ShardToMerge"], request["AdjacentShardToMerge"], now=now)
                return {}
            case "GetShardIterator":
                return self._get_shard_iterator(stream, request, now)
        raise Rejected(f"unknown operation {operation}", code="UnknownOperationException")

    def sequence_number(self, wire: Mapping[str, Any]) -> str:
        return str(wire["SequenceNumber"])

    def _named(self, request: Mapping[str, Any], now: float) -> FakeStream:
        by_name = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{request.get('StreamName')}"
        return self.stream(request.get("StreamARN", by_name), now)

    def _put(
        self, stream: FakeStream, partition_key: str, data: str, hash_key: int | None, now: float
    ) -> tuple[str, str]:
        if hash_key is None:
            hash_key = int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
        content = {"Data": data, "PartitionKey": partition_key}
        size = len(b64decode(data)) + len(partition_key.encode())
        return stream.put(content, key=partition_key, hash_key=hash_key, size=size, now=now)

    def _list_shards(self, request: Mapping[str, Any], now: float) -> Any:
        """List shards.

        A token contains the stream, the last shard's id, the page's length and the time of its issue.
        """
        self.limit_listings(now)
        after, count = "", min(request.get("MaxResults", 1000), 1000)
        if "NextToken" in request:
            if {"StreamName", "StreamARN", "ExclusiveStartShardId"} & request.keys():
                raise Rejected("NextToken and the stream cannot be provided together", code="InvalidArgumentException")
            arn, after, count, issued_at = orjson.loads(b64decode(request["NextToken"]))
            if now - issued_at >= TOKEN_LIFETIME_IN_SECONDS:
                raise Rejected("the token is too old", code="ExpiredNextTokenException")
            stream = self.stream(arn, now)
        else:
            stream = self._named(request, now)
        shards = [shard for shard in stream.shards(now=now) if shard.shard_id > after]
        answer: dict[str, Any] = {"Shards": [_wire_shard(shard) for shard in shards[:count]]}
        if len(shards) > count:
            token = orjson.dumps([str(stream.arn), shards[count - 1].shard_id, count, now])
            answer["NextToken"] = b64encode(token).decode()
        return answer

    def _get_shard_iterator(self, stream: FakeStream, request: Mapping[str, Any], now: float) -> Any:
        shard_id, number = request["ShardId"], request.get("StartingSequenceNumber")
        self._limit(stream, shard_id, "GetShardIterator", now)
        place = stream.place(
            shard_id,
            request["ShardIteratorType"],
            now=now,
            sequence_number=None if number is None else int(number),
            arrived_at=round(request["Timestamp"] - self.epoch, 3) if "Timestamp" in request else None,
        )
        return {"ShardIterator": Cursor(str(stream.arn), shard_id, place, now).token()}

    def _get_records(self, request: Mapping[str, Any], now: float) -> Any:
        cursor = Cursor.of(request["ShardIterator"])
        if request.get("StreamARN", cursor.stream_arn) != cursor.stream_arn:
            raise Rejected("the iterator is of another stream", code="InvalidArgumentException")
        limit = request.get("Limit", RECORDS_IN_AN_ANSWER)
        if not 1 <= limit <= RECORDS_IN_AN_ANSWER:
            raise Rejected("Limit is out of range", code="InvalidArgumentException")
        stream = self.stream(cursor.stream_arn, now)
        self._limit(stream, cursor.shard_id, "GetRecords", now)
        page = self.read(cursor, limit=limit, maximum_bytes=BYTES_IN_AN_ANSWER, now=now)
        self._pay((cursor.stream_arn, cursor.shard_id), sum(record.size for record in page.records), now)
        answer = {
            "Records": [_wire(record, self.epoch) for record in page.records],
            "MillisBehindLatest": round(page.behind_in_seconds * 1000),
        }
        if page.next_place is None:
            by_id = {shard.shard_id: shard for shard in stream.shards(now=now)}
            child_ids = by_id[cursor.shard_id].child_ids
            return answer | {"ChildShards": [_wire_child(by_id[each]) for each in child_ids if each in by_id]}
        token = cursor._replace(place=page.next_place, issued_at=now).token()
        return answer | {"NextShardIterator": token}

    def _pay(self, shard: tuple[str, str], size: int, now: float) -> None:
        """Count bytes that were read from the shard.

        The bytes of one second may be read at once. After a larger read, the next read must wait.
        """
        paid_until = max(now, self._paid_until.get(shard, now)) + size / BYTES_IN_A_SECOND
        self._paid_until[shard] = paid_until
        if paid_until - now >= 1:
            self._refused_until[shard] = paid_until

    def _limit(self, stream: FakeStream, shard_id: str, operation: str, now: float) -> None:
        """Raise Throttled if the shard had five such calls within a second, or if too many bytes were read."""
        if not self._has_limits:
            return
        calls = self._calls[str(stream.arn), shard_id, operation]
        while calls and calls[0] <= now - 1:
            calls.popleft()
        is_paying = operation == "GetRecords" and now < self._refused_until.get((str(stream.arn), shard_id), now)
        if is_paying or len(calls) >= CALLS_IN_A_SECOND:
            stream.refused(shard_id, self.throttling_code, now=now)
            raise Throttled(f"Rate exceeded for shard {shard_id}", code=self.throttling_code)
        calls.append(now)


def consumer_arn(stream: FakeStream, name: str) -> Arn:
    """Return the ARN that Kinesis would give a consumer of the stream."""
    return Arn.parse(f"{stream_arn(stream.arn)}/consumer/{name}:1767225600")


def _shard_id(serial: int, _now: float, _randomness: Random) -> str:
    return f"shardId-{serial:012d}"


def _wire(record: Stored, epoch: float) -> dict[str, Any]:
    return {
        "SequenceNumber": str(record.sequence_number),
        "ApproximateArrivalTimestamp": round(epoch + record.arrived_at, 3),
        **record.content,
    }


def _wire_shard(shard: FakeShard) -> dict[str, Any]:
    numbers = {"StartingSequenceNumber": str(shard.starts_at)}
    if shard.ends_at is not None:
        numbers["EndingSequenceNumber"] = str(shard.ends_at)
    names = ("ParentShardId", "AdjacentParentShardId")
    return {
        "ShardId": shard.shard_id,
        "HashKeyRange": _wire_range(shard),
        "SequenceNumberRange": numbers,
        **dict(zip(names, shard.parent_ids, strict=False)),
    }


def _wire_child(shard: FakeShard) -> dict[str, Any]:
    return {"ShardId": shard.shard_id, "ParentShards": list(shard.parent_ids), "HashKeyRange": _wire_range(shard)}


def _wire_range(shard: FakeShard) -> dict[str, str]:
    return {"StartingHashKey": str(shard.hash_keys[0]), "EndingHashKey": str(shard.hash_keys[1])}
