"""How is a DynamoDB stream read? Describe its shards, find a position in a shard, read records.

Requests and answers are DynamoDB Streams' JSON. The attribute values of an answer already look as in an event: binary
values, for example, are base64. So they are copied unchanged.
With a parallelization factor, the records of one item stay in order: a record's lane key is the item's key as JSON,
with its attributes sorted, because the service may send them in any order.
The service does not say how far a read is behind the end of the shard.

A read from a time uses the iterator type AT_TIMESTAMP. If the service does not know that type, the read begins at the
oldest record. In both cases, records of an earlier second are skipped. Therefore our cursor has the service's iterator,
a space, and the time in whole seconds. Record times have no fractions.

A stream that was switched off at its table (`DISABLED`) has only closed shards. It can be read until its last record
is 24 hours old.

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
"""DynamoDB keeps records for 24 hours. Lambda reads the end of a shard four times a second. We chose the other limits.

Forty empty reads take ten seconds. Sources: AWS Lambda Developer Guide, "Using Lambda with DynamoDB"; Amazon DynamoDB
Developer Guide, "Change data capture for DynamoDB Streams".
"""

MAXIMUM_RECORDS_IN_A_READ = 1_000
SHARDS_IN_A_PAGE = 100
"""The maximums of GetRecords and DescribeStream. Source: Amazon DynamoDB Streams API Reference."""

MAXIMUM_PAGES = 10_000
"""The most pages of one listing. We chose a number far above what any stream needs: a longer listing never ends."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer may take. We chose it above any latency of a healthy service; a read has at most 1 MB."""


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
        """List every shard. A page has at most 100 shards, and a busy table has several pages of shards in a day."""
        return await self._listed(self._page)

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """Return the children of the shard, found by a shard filter.

        An older service rejects or ignores the filter. Then all shards are returned.
        """
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
        """Return a cursor at the position. At an AtTimestamp all records of its second are read.

        Records have whole seconds only, so some of these records may be earlier than the time: they are read so that
        none is lost.
        """
        if not isinstance(position, AtTimestamp):
            return ShardIterator(await self._wire_iterator(shard_id, _iterator_request(position)))
        since = floor(position.timestamp)
        return _cursor(await self._wire_iterator_at(shard_id, since), since)

    async def _wire_iterator_at(self, shard_id: ShardId, since: int) -> str:
        """Return the service's iterator at a time in whole epoch seconds.

        An older service rejects AT_TIMESTAMP or fails. Then the iterator is at the oldest record.
        """
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
        """Read records. If the cursor has a time, skip the records of an earlier second.

        If the service returns only earlier records, `records` is empty, and `behind_in_seconds` is the time between the
        last one and the cursor's time. DynamoDB allows two readers of a shard and throttles further ones.
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
    """Remove the records that arrived before `since` from the beginning of a read. `since` is in epoch seconds.

    If no record is left, the iterator for the next read contains `since`, so that older records are removed from the
    next read, too.
    """
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
    """Parse a shard. In DynamoDB a shard has at most one parent; only a closed shard has an ending sequence number."""
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
