"""How is a Kinesis stream read? Its shards listed, a place in a shard found, records fetched, over the door of aws/.

The requests are Kinesis's JSON protocol; the answers stay the wire's JSON. `Data` is base64 there, and base64 is what
the event wants: it goes through untouched.
The stream is always named by its ARN, never by its name alone, so that streams of other accounts are reached too.

A mapping may name a consumer of the stream (`stream/NAME/consumer/…`, enhanced fan-out). Such a stream is read by
polling like any other, within the read limits that all its readers share, and not through the consumer's own
throughput; but events carry the consumer's ARN, as they do on AWS.

A cursor of this module is the shard's id, a blank and Kinesis's iterator: Kinesis does not say in its answers which
shard they are of, and the event's `eventID` does.

Sources: Amazon Kinesis Data Streams API Reference, "ListShards", "GetShardIterator", "GetRecords", "Shard".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import orjson

from poller.core.envelope import kinesis_record
from poller.errors import Rejected, Unreachable
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

MAXIMUM_RECORDS_IN_A_READ = 10_000
SHARDS_IN_A_PAGE = 1_000
"""The most that GetRecords and ListShards allow; Amazon Kinesis Data Streams API Reference."""

MAXIMUM_PAGES = 1_000
"""Pages of one listing; ours, far above the shards of any stream: a listing that goes on longer has no end."""

LISTINGS_BEGUN = 3
"""How often a listing is begun before we give up, when the tokens between its pages expire (after 300 seconds)."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer without records may take; ours, above any latency seen in health."""

READ_TIMEOUT_IN_SECONDS = 30.0
"""How long a read may take: its answer may have 10 MiB."""


def stream_arn(event_source: Arn) -> str:
    """The stream's ARN, from its own or from that of one of its consumers."""
    return str(event_source).partition("/consumer/")[0]


class KinesisSource:
    """One stream, as `ports.StreamSource`. The caller is opened and closed by the composition root.

    `arn` is the mapping's event source, a stream or a consumer of one.
    `invoke_identity_arn` is whom events name as their reader.
    """

    def __init__(
        self, caller: Caller, *, arn: Arn, invoke_identity_arn: str, shards_in_a_page: int = SHARDS_IN_A_PAGE
    ) -> None:
        self._caller = caller
        self._arn = str(arn)
        self._region = arn.region
        self._invoke_identity_arn = invoke_identity_arn
        self._stream = {"StreamARN": stream_arn(arn)}
        self._read_end = b',"StreamARN":%b}' % orjson.dumps(stream_arn(arn))
        self._first_page = self._stream | {"MaxResults": shards_in_a_page}

    async def shards(self) -> list[Shard]:
        """A listing whose token between two pages expired begins again."""
        for _ in range(LISTINGS_BEGUN):
            try:
                return await self._listed()
            except Rejected as error:
                if error.code != "ExpiredNextTokenException":
                    raise
        raise Unreachable("every listing's token expired between its pages", code="UnusableAnswer", was_sent=True)

    async def iterator(self, shard_id: ShardId, position: Position) -> Iterator:
        """Where the records at a position are gone, Kinesis goes to the oldest that there are, and does not say so."""
        request = self._stream | {"ShardId": shard_id} | _place(position)
        answer = await self._call("GetShardIterator", request)
        try:
            return _cursor(shard_id, answer["ShardIterator"])
        except (AttributeError, KeyError, TypeError) as error:
            raise _unusable("no iterator") from error

    async def read(self, iterator: Iterator, *, limit: int) -> Read:
        """Kinesis allows five reads a second and 2 MiB a second of a shard, and answers Throttled beyond that."""
        shard_id, _, wire_iterator = iterator.partition(" ")
        count = min(limit, MAXIMUM_RECORDS_IN_A_READ)
        body = b'{"ShardIterator":%b,"Limit":%d%b' % (orjson.dumps(wire_iterator), count, self._read_end)
        answer = await self._caller.call("GetRecords", body, timeout_in_seconds=READ_TIMEOUT_IN_SECONDS)
        try:
            return self._read(ShardId(shard_id), answer)
        except (AttributeError, KeyError, TypeError) as error:
            raise _unusable(f"no records, or a record without {error}") from error

    def _read(self, shard_id: ShardId, answer: Mapping[str, Any]) -> Read:
        next_iterator = answer.get("NextShardIterator")
        behind = answer.get("MillisBehindLatest")
        return Read(
            [self._record(shard_id, wire) for wire in answer["Records"]],
            _cursor(shard_id, next_iterator) if next_iterator else None,
            None if behind is None else behind / 1000,
        )

    def _record(self, shard_id: ShardId, wire: Mapping[str, Any]) -> StreamRecord:
        sequence_number = wire["SequenceNumber"]
        return StreamRecord(
            SequenceNumber(sequence_number),
            # A stream that spreads records by itself may have none; then nothing is ordered by it either.
            wire.get("PartitionKey") or sequence_number,
            wire["ApproximateArrivalTimestamp"],
            kinesis_record(
                wire,
                shard_id=shard_id,
                arn=self._arn,
                region=self._region,
                role_arn=self._invoke_identity_arn,
            ),
        )

    async def _listed(self) -> list[Shard]:
        shards: dict[ShardId, Shard] = {}
        request: Mapping[str, Any] = self._first_page
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("ListShards", request)
            try:
                shards |= {shard.shard_id: shard for shard in map(_shard, answer["Shards"])}
            except (AttributeError, KeyError, TypeError) as error:
                raise _unusable("no list of shards") from error
            if not answer.get("NextToken"):
                return list(shards.values())
            request = {"NextToken": answer["NextToken"]}
        raise _unusable("a listing of shards that does not end")

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        return await self._caller.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _cursor(shard_id: ShardId, wire_iterator: str) -> Iterator:
    return Iterator(f"{shard_id} {wire_iterator}")


def _shard(wire: Mapping[str, Any]) -> Shard:
    """A merge names its second parent as the adjacent one; only a closed shard's range has an end."""
    parents = (wire.get("ParentShardId"), wire.get("AdjacentParentShardId"))
    return Shard(
        ShardId(wire["ShardId"]),
        tuple(ShardId(parent) for parent in parents if parent),
        not wire["SequenceNumberRange"].get("EndingSequenceNumber"),
    )


def _place(position: Position) -> dict[str, Any]:
    match position:
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case AtTimestamp(timestamp):
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": round(timestamp, 3)}
        case AtSequence(sequence_number):
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence_number}
        case AfterSequence(sequence_number):
            return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence_number}
        case ShardEnd():
            raise AssertionError("there is nothing to read at a shard's end")
        case _:
            assert_never(position)


def _unusable(what: str) -> Rejected:
    return Rejected(f"the answer has {what}: is this Kinesis?", code="UnusableAnswer")
