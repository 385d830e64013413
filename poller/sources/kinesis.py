"""How is a Kinesis stream read? List its shards, find a position in a shard, read records.

Requests and answers are Kinesis's JSON. `Data` is base64 in the answer and in the event, so it is copied unchanged.
Every request names the stream by its ARN, not by its name alone, so that a stream of another account can be read too.

A mapping may name a consumer of the stream (`stream/NAME/consumer/…`, enhanced fan-out). Such a mapping polls the
stream as any other mapping does: it shares the stream's read limits with all readers, and does not use the consumer's
own throughput. Its events have the consumer's ARN, as on AWS.

Kinesis does not report that the record of a position has expired; `kinesis_cursor.py` detects it.

Sources: Amazon Kinesis Data Streams API Reference, "ListShards", "GetShardIterator", "GetRecords", "Shard".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import floor
from typing import Any, assert_never

import orjson

from poller.core.envelope import KinesisEnvelope
from poller.errors import Rejected, Unreachable
from poller.model.arn import Arn, stream_arn
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    Read,
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
from poller.sources.kinesis_cursor import Cursor

SERVICE = "Kinesis"

LIMITS = StreamLimits(
    listing_operation="ListShards",
    read_interval_when_behind=0.2,
    read_interval_at_the_tip=1.0,
    iterator_interval=0.2,
    empty_reads_at_the_tip=40,
    drained_shard_memory=366 * 24 * 3600,
)
"""Kinesis allows five reads and five iterators a second for each shard, and keeps records for at most 365 days.

All readers of a shard share the five reads. Lambda reads the end of a shard once a second.
`empty_reads_at_the_tip` serves only emulators that do not say how far a read is behind the end of the shard.
Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Quotas and limits".
"""

MAXIMUM_RECORDS_IN_A_READ = 10_000
SHARDS_IN_A_PAGE = 1_000
"""The maximums of GetRecords and ListShards. Source: Amazon Kinesis Data Streams API Reference."""

MAXIMUM_PAGES = 1_000
"""The most pages of one listing. We chose a number far above what any stream needs: a longer listing never ends."""

LISTINGS_BEGUN = 3
"""How many times a listing begins in all. It begins again if the token of its next page expires, after 300 seconds."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer without records may take. We chose it above any latency of a healthy service."""

READ_TIMEOUT_IN_SECONDS = 30.0
"""How long a read may take. It is longer than for other answers because a read may have 10 MiB."""

NO_PLACE = "(was the stream deleted and created again? Then set new positions with `poller state set`)"

new_record = partial(tuple.__new__, StreamRecord)
"""Makes a StreamRecord from a tuple. It takes half the time of `StreamRecord(...)`, which calls a Python function."""

Reader = Callable[[], Awaitable[str]]


class KinesisSource:
    """One stream, as `ports.StreamSource`. The client is opened and closed by the composition root.

    `arn` is the mapping's event source: a stream, or a consumer of a stream.
    `reader` returns the ARN for `invokeIdentityArn` in events. The first read calls it.
    """

    def __init__(self, client: Client, *, arn: Arn, reader: Reader, shards_in_a_page: int = SHARDS_IN_A_PAGE) -> None:
        self._client = client
        self._arn = arn
        self._reader = reader
        self._envelope: KinesisEnvelope | None = None
        self._children: dict[ShardId, list[Shard]] = {}
        self._stream = {"StreamARN": stream_arn(arn)}
        self._read_end = b',"StreamARN":%b}' % orjson.dumps(stream_arn(arn))
        self._first_page = self._stream | {"MaxResults": shards_in_a_page}

    @property
    def limits(self) -> StreamLimits:
        return LIMITS

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    @property
    def status(self) -> None:
        """Return None, because ListShards does not return the status.

        If the stream is deleted, calls soon raise NotFound.
        """
        return None

    async def shards(self) -> list[Shard]:
        """List every shard. If the token of a page expires, the listing begins again.

        Raises Unreachable if the tokens of LISTINGS_BEGUN listings have expired.
        """
        for _ in range(LISTINGS_BEGUN):
            try:
                return await self._listed()
            except Rejected as error:
                if error.code != "ExpiredNextTokenException":
                    raise
        raise Unreachable("every listing's token expired between its pages", code="UnusableAnswer", was_sent=True)

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """Return the child shards that the shard's last answer named.

        An older service names no children. Then all shards are returned.
        """
        return self._children.pop(shard_id, None) or await self.shards()

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        """Return a cursor at the position. If the record of an AfterSequence has expired, a later read raises Trimmed.

        Raises Rejected if the stream was deleted and created again: the new stream has the same ARN and shard ids, but
        rejects the sequence numbers of the old stream.
        """
        try:
            wire = await self._wire_iterator(shard_id, position)
        except Rejected as error:
            if error.code == "InvalidArgumentException" and isinstance(position, AtSequence | AfterSequence):
                raise Rejected(f"{error} {NO_PLACE}", code=error.code) from error
            raise
        return Cursor(
            shard_id, wire, position.sequence_number if isinstance(position, AfterSequence) else None
        ).written()

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        """Read records. Raises Throttled beyond five reads or 2 MiB a second of one shard."""
        envelope = self._envelope or await self._first_envelope()
        cursor = Cursor.of(iterator)
        count = min(limit, MAXIMUM_RECORDS_IN_A_READ)
        body = b'{"ShardIterator":%b,"Limit":%d%b' % (orjson.dumps(cursor.wire), count, self._read_end)
        answer = await self._client.call("GetRecords", body, timeout_in_seconds=READ_TIMEOUT_IN_SECONDS)
        with understood(SERVICE, "records"):
            milliseconds = answer.get("MillisBehindLatest")
            behind = None if milliseconds is None else milliseconds / 1000
            records = _records(envelope, cursor.shard_id, answer["Records"])
            next_wire = token_if_any(answer.get("NextShardIterator"))
            following = cursor.following(next_wire, records, is_behind=bool(behind))
            children: list[Shard] = []
            if following is None:
                children = self._children[cursor.shard_id] = list(map(_child, answer.get("ChildShards") or ()))
        if following is not None and following.leads_nowhere:
            following = following._replace(wire=await self._wire_iterator(cursor.shard_id, TrimHorizon()))
        return Read(
            cursor.fresh(records),
            None if following is None else following.written(),
            behind,
            tuple([child.shard_id for child in children]),
        )

    async def _wire_iterator(self, shard_id: ShardId, position: Position) -> str:
        answer = await self._call(
            "GetShardIterator", self._stream | {"ShardId": shard_id} | _iterator_request(position)
        )
        with understood(SERVICE, "iterator"):
            return token(answer["ShardIterator"])

    async def _first_envelope(self) -> KinesisEnvelope:
        reader_arn = await self._reader()
        self._envelope = KinesisEnvelope(arn=str(self._arn), region=self._arn.region, role_arn=reader_arn)
        return self._envelope

    async def _listed(self) -> list[Shard]:
        shards: dict[ShardId, Shard] = {}
        request: Mapping[str, Any] = self._first_page
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("ListShards", request)
            with understood(SERVICE, "list of shards"):
                shards |= {shard.shard_id: shard for shard in map(_shard, answer["Shards"])}
                next_page = token_if_any(answer.get("NextToken"))
            if next_page is None:
                # nobody takes the children of a shard if a listing shows them first, so forget them with the shard
                self._children = {each: named for each, named in self._children.items() if each in shards}
                return list(shards.values())
            request = {"NextToken": next_page}
        raise unusable(SERVICE, "a listing of shards that does not end")

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        return await self._client.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _records(envelope: KinesisEnvelope, shard_id: ShardId, wires: list[Mapping[str, Any]]) -> list[StreamRecord]:
    """Parse records. A record without a partition key needs no order, so its lane key is its sequence number."""
    record = envelope.of_shard(shard_id)
    return [
        new_record(
            (
                number := wire["SequenceNumber"],
                wire.get("PartitionKey") or number,
                wire["ApproximateArrivalTimestamp"],
                record(wire),
            )
        )
        for wire in wires
    ]


def _shard(wire: Mapping[str, Any]) -> Shard:
    """Parse a shard. The second parent of a merge is its "adjacent" one; only a closed shard has an ending number."""
    parents = (token_if_any(wire.get("ParentShardId")), token_if_any(wire.get("AdjacentParentShardId")))
    return Shard(
        ShardId(token(wire["ShardId"])),
        tuple(ShardId(parent) for parent in parents if parent),
        not wire["SequenceNumberRange"].get("EndingSequenceNumber"),
    )


def _child(wire: Mapping[str, Any]) -> Shard:
    """Parse a child shard. It counts as open, because GetRecords does not say whether it is closed."""
    return Shard(ShardId(token(wire["ShardId"])), tuple(ShardId(token(each)) for each in wire["ParentShards"]), True)


def _milliseconds(timestamp: float) -> float:
    """Return the time rounded down to milliseconds, as Kinesis rounds arrival times.

    A time rounded up would leave out a record of that millisecond. A millionth of a second is added first, because
    a binary fraction may be slightly smaller than the millisecond that it stands for.
    """
    return floor(timestamp * 1000 + 0.001) / 1000


def _iterator_request(position: Position) -> dict[str, Any]:
    match position:
        case TrimHorizon():
            return {"ShardIteratorType": "TRIM_HORIZON"}
        case Latest():
            return {"ShardIteratorType": "LATEST"}
        case AtTimestamp(timestamp):
            return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": _milliseconds(timestamp)}
        case AtSequence(sequence_number) | AfterSequence(sequence_number):
            return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence_number}
        case ShardEnd():
            raise AssertionError("there is nothing to read at a shard's end")
        case _:
            assert_never(position)
