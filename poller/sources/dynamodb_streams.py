"""How is a DynamoDB stream read? Its shards described, a place in a shard found, records fetched, over aws/'s door.

The requests are DynamoDB Streams' JSON protocol; the answers stay the wire's JSON, in which attribute values are
already spelled as events spell them, and binary ones are base64.
Order is kept by item under a parallelization factor, so a record's lane key is the item's key, as JSON that is the same
however the service orders its attributes.
The service does not say how far a read is behind the shard's tip.

A stream that its table no longer feeds (`DISABLED`) has closed shards only, and can be read until the last record is
24 hours old.

Sources: Amazon DynamoDB Streams API Reference, "DescribeStream", "GetShardIterator", "GetRecords", "Shard".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import orjson

from poller.core.envelope import dynamodb_record, item_key
from poller.errors import Rejected
from poller.model.arn import Arn
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Iterator,
    Latest,
    Position,
    Read,
    SequenceNumber,
    Shard,
    ShardEnd,
    ShardId,
    StreamRecord,
    TrimHorizon,
)
from poller.sources.caller import Caller

MAXIMUM_RECORDS_IN_A_READ = 1_000
SHARDS_IN_A_PAGE = 100
"""The most that GetRecords and DescribeStream allow; Amazon DynamoDB Streams API Reference."""

MAXIMUM_PAGES = 10_000
"""Pages of one listing; ours, far above the shards of any stream: a listing that goes on longer has no end."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer may take; ours, above any latency seen in health. A read has at most 1 MB."""


class DynamoDbStreamsSource:
    """One stream of a table, as `ports.StreamSource`. The caller is opened and closed by the composition root.

    `status` is the stream's, as the last listing told it: ENABLING, ENABLED, DISABLING, DISABLED; None before.
    """

    def __init__(self, caller: Caller, *, arn: Arn, shards_in_a_page: int = SHARDS_IN_A_PAGE) -> None:
        self._caller = caller
        self._arn = str(arn)
        self._region = arn.region
        self._stream = {"StreamArn": self._arn}
        self._page = self._stream | {"Limit": shards_in_a_page}
        self.status: str | None = None

    async def shards(self) -> list[Shard]:
        """Pages hold at most 100 shards; a day's shards of a busy table fill several."""
        shards: dict[ShardId, Shard] = {}
        request: Mapping[str, Any] = self._page
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("DescribeStream", request)
            try:
                description = answer["StreamDescription"]
                shards |= {shard.shard_id: shard for shard in map(_shard, description.get("Shards") or ())}
            except (AttributeError, KeyError, TypeError) as error:
                raise _unusable("no description of a stream") from error
            self.status = description.get("StreamStatus")
            last = description.get("LastEvaluatedShardId")
            if not last:
                return list(shards.values())
            request = self._page | {"ExclusiveStartShardId": last}
        raise _unusable("a listing of shards that does not end")

    async def iterator(self, shard_id: ShardId, position: Position) -> Iterator:
        """A time is no position here: the settings refuse it for such a stream."""
        answer = await self._call("GetShardIterator", self._stream | {"ShardId": shard_id} | _place(position))
        try:
            return Iterator(answer["ShardIterator"])
        except (AttributeError, KeyError, TypeError) as error:
            raise _unusable("no iterator") from error

    async def read(self, iterator: Iterator, *, limit: int) -> Read:
        """DynamoDB allows two readers of a shard, and answers Throttled to more."""
        request = {"ShardIterator": iterator, "Limit": min(limit, MAXIMUM_RECORDS_IN_A_READ)}
        answer = await self._call("GetRecords", request)
        try:
            next_iterator = answer.get("NextShardIterator")
            records = [self._record(wire) for wire in answer["Records"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise _unusable(f"no records, or a record without {error}") from error
        return Read(records, Iterator(next_iterator) if next_iterator else None, None)

    def _record(self, wire: Mapping[str, Any]) -> StreamRecord:
        change = wire["dynamodb"]
        return StreamRecord(
            SequenceNumber(change["SequenceNumber"]),
            item_key(wire),
            change["ApproximateCreationDateTime"],
            dynamodb_record(wire, arn=self._arn, region=self._region),
        )

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        return await self._caller.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _shard(wire: Mapping[str, Any]) -> Shard:
    """Shards here have one parent or none; only a closed shard's range has an end."""
    parent = wire.get("ParentShardId")
    sequence_numbers = wire.get("SequenceNumberRange") or {}
    return Shard(
        ShardId(wire["ShardId"]),
        (ShardId(parent),) if parent else (),
        not sequence_numbers.get("EndingSequenceNumber"),
    )


def _place(position: Position) -> dict[str, Any]:
    match position:
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case AtSequence(sequence_number):
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence_number}
        case AfterSequence(sequence_number):
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": sequence_number}
        case AtTimestamp():
            raise AssertionError("DynamoDB Streams finds no position by time")
        case ShardEnd():
            raise AssertionError("there is nothing to read at a shard's end")
        case _:
            assert_never(position)


def _unusable(what: str) -> Rejected:
    return Rejected(f"the answer has {what}: is this DynamoDB Streams?", code="UnusableAnswer")
