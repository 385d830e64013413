"""How is a DynamoDB stream read? Describe its shards, find a position in a shard, read records.

The requests are DynamoDB Streams' JSON protocol; the answers stay the wire's JSON, in which attribute values are
already spelled as events spell them, and binary ones are base64.
Order is kept by item under a parallelization factor, so a record's lane key is the item's key, as JSON that is the same
however the service orders its attributes.
The service does not say how far a read is behind the shard's tip.

A start at a time uses AT_TIMESTAMP; a service that does not know it is read from its oldest record.  In both cases
records of an earlier second are left out: our cursor is the service's iterator, a blank, and the time in whole seconds,
as the times of records have no fractions.

A stream that its table has switched off (`DISABLED`) has closed shards only, and can be read until its last record is
24 hours old.

Sources: Amazon DynamoDB Streams API Reference, "DescribeStream", "GetShardIterator", "GetRecords", "Shard".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import dropwhile
from math import floor
from typing import Any, assert_never

import orjson

from poller.core.envelope import dynamodb_record, encode, item_key
from poller.errors import ExpiredIterator, Rejected, Trimmed, Unreachable
from poller.model.arn import Arn
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    Read,
    SequenceNumber,
    Shard,
    ShardEnd,
    ShardId,
    ShardIterator,
    StreamLimits,
    StreamRecord,
    TrimHorizon,
)
from poller.ports import SourceClock
from poller.sources.answers import token, token_if_any, understood, unusable
from poller.sources.client import Client

SERVICE = "DynamoDB Streams"

LIMITS = StreamLimits(
    listing_operation="DescribeStream",
    read_interval_when_behind=0.0,
    read_interval_at_the_tip=0.25,
    iterator_interval=0.2,
    empty_reads_at_the_tip=40,
    drained_shard_memory=25 * 3600,
)
"""DynamoDB keeps records for 24 hours. Lambda reads a shard four times a second at its tip; the rest is ours.

Forty empty reads take ten seconds. Source: AWS Lambda Developer Guide, "Using Lambda with DynamoDB"; Amazon DynamoDB
Developer Guide, "Change data capture for DynamoDB Streams".
"""

MAXIMUM_RECORDS_IN_A_READ = 1_000
SHARDS_IN_A_PAGE = 100
"""The most that GetRecords and DescribeStream allow; Amazon DynamoDB Streams API Reference."""

MAXIMUM_PAGES = 10_000
"""Pages of one listing; ours, far above the shards of any stream: a listing that goes on longer has no end."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer may take; ours, above any latency seen in health. A read has at most 1 MB."""


class DynamoDbStreamsSource:
    """One stream of a table, as `ports.StreamSource`. The client is opened and closed by the composition root."""

    def __init__(self, client: Client, *, arn: Arn, shards_in_a_page: int = SHARDS_IN_A_PAGE) -> None:
        self._client = client
        self._arn = str(arn)
        self._region = arn.region
        self._stream = {"StreamArn": self._arn}
        self._page: dict[str, Any] = self._stream | {"Limit": shards_in_a_page}
        self._refuses_filters = False
        self._refuses_times = False
        self._status: str | None = None

    @property
    def limits(self) -> StreamLimits:
        return LIMITS

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    @property
    def status(self) -> str | None:
        return self._status

    async def shards(self) -> list[Shard]:
        """Pages hold at most 100 shards; a day's shards of a busy table fill several."""
        return await self._listed(self._page)

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """Uses a shard filter. An older service rejects the filter, or ignores it and lists every shard."""
        if not self._refuses_filters:
            try:
                return await self._listed(self._page | {"ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": shard_id}})
            except Rejected:
                self._refuses_filters = True
        return await self.shards()

    async def _listed(self, first_page: Mapping[str, Any]) -> list[Shard]:
        shards: dict[ShardId, Shard] = {}
        request = first_page
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("DescribeStream", request)
            with understood(SERVICE, "description of a stream"):
                description = answer["StreamDescription"]
                self._status = description.get("StreamStatus")
                shards |= {shard.shard_id: shard for shard in map(_shard, description.get("Shards") or ())}
                last = token_if_any(description.get("LastEvaluatedShardId"))
            if last is None:
                return list(shards.values())
            request = {**first_page, "ExclusiveStartShardId": last}
        raise unusable(SERVICE, "a listing of shards that does not end")

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        """Records of the same second as an AtTimestamp are read, rather repeated than lost."""
        if not isinstance(position, AtTimestamp):
            return ShardIterator(await self._wire_iterator(shard_id, _iterator_request(position)))
        since = floor(position.timestamp)
        return _cursor(await self._wire_iterator_at(shard_id, since), since)

    async def _wire_iterator_at(self, shard_id: ShardId, since: int) -> str:
        """An older service rejects AT_TIMESTAMP, or fails: then read from the oldest record; older ones are skipped."""
        if not self._refuses_times:
            try:
                return await self._wire_iterator(shard_id, {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": since})
            except Rejected:
                self._refuses_times = True
            except Unreachable:
                pass
        return await self._wire_iterator(shard_id, _iterator_request(TrimHorizon()))

    async def _wire_iterator(self, shard_id: ShardId, iterator_request: Mapping[str, Any]) -> str:
        answer = await self._call("GetShardIterator", {**self._stream, "ShardId": shard_id, **iterator_request})
        with understood(SERVICE, "iterator"):
            return token(answer["ShardIterator"])

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        """DynamoDB allows two readers of a shard, and answers Throttled to more.

        A read of older records only is empty, and is behind by at least their distance from the time.
        """
        wire, _, since = iterator.partition(" ")
        if not since:
            return await self._read(wire, limit)
        try:
            read = await self._read(wire, limit)
        except Trimmed as error:
            raise ExpiredIterator("a record was trimmed before it was skipped", code=error.code) from error
        with understood(SERVICE, "arrival times"):
            return _since(int(since), read)

    async def _read(self, wire_iterator: str, limit: int) -> Read:
        request = {"ShardIterator": wire_iterator, "Limit": min(limit, MAXIMUM_RECORDS_IN_A_READ)}
        answer = await self._call("GetRecords", request)
        with understood(SERVICE, "records"):
            next_wire = token_if_any(answer.get("NextShardIterator"))
            records = [self._record(wire) for wire in answer["Records"]]
        return Read(records, ShardIterator(next_wire) if next_wire else None, None)

    def _record(self, wire: Mapping[str, Any]) -> StreamRecord:
        change = wire["dynamodb"]
        return StreamRecord(
            SequenceNumber(change["SequenceNumber"]),
            item_key(wire),
            change["ApproximateCreationDateTime"],
            encode(dynamodb_record(wire, arn=self._arn, region=self._region)),
        )

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        return await self._client.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _cursor(wire: str, since: int) -> ShardIterator:
    return ShardIterator(f"{wire} {since}")


def _since(since: int, read: Read) -> Read:
    """The read without the older records at its beginning; the following cursor passes over more, if all were."""
    recent = list(dropwhile(lambda record: record.arrived_at < since, read.records))
    if recent:
        return read._replace(records=recent)
    following = read.next_iterator
    return Read(
        [],
        None if following is None else _cursor(following, since),
        since - read.records[-1].arrived_at if read.records else None,
    )


def _shard(wire: Mapping[str, Any]) -> Shard:
    """Shards here have one parent or none; only a closed shard's range has an end."""
    parent = token_if_any(wire.get("ParentShardId"))
    sequence_numbers = wire.get("SequenceNumberRange") or {}
    return Shard(
        ShardId(token(wire["ShardId"])),
        (ShardId(parent),) if parent else (),
        not sequence_numbers.get("EndingSequenceNumber"),
    )


def _iterator_request(position: TrimHorizon | Latest | AtSequence | AfterSequence | ShardEnd) -> dict[str, Any]:
    match position:
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case AtSequence(sequence_number):
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence_number}
        case AfterSequence(sequence_number):
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": sequence_number}
        case ShardEnd():
            raise AssertionError("there is nothing to read at a shard's end")
        case _:
            assert_never(position)
