"""How is a Kinesis stream read? List its shards, find a position in a shard, read records.

The requests are Kinesis's JSON protocol; the answers stay the wire's JSON. `Data` is base64 there, and base64 is what
the event wants: it goes through untouched.
The stream is always named by its ARN, never by its name alone, so that streams of other accounts are reached too.

A mapping may name a consumer of the stream (`stream/NAME/consumer/…`, enhanced fan-out). Such a stream is read by
polling like any other, within the read limits that all its readers share, and not through the consumer's own
throughput; but events carry the consumer's ARN, as they do on AWS.

That the record of a position has aged out is found by looking for it (`kinesis_cursor.py`).

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

All readers of a shard share its reads. Lambda reads a shard once a second at its tip.
Only an emulator does not say how far a read is behind the tip.
Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis"; Amazon Kinesis Data Streams Developer Guide,
"Quotas and limits".
"""

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

NO_PLACE = "(was the stream deleted and created again? Then set new positions with `poller state set`)"

new_record = partial(tuple.__new__, StreamRecord)
"""StreamRecord of a tuple, without the Python function that a NamedTuple is made by: half the time."""

Reader = Callable[[], Awaitable[str]]


def known(arn: str) -> Reader:
    """A reader whom nobody needs to be asked for."""

    async def reader() -> str:
        return arn

    return reader


class KinesisSource:
    """One stream, as `ports.StreamSource`. The client is opened and closed by the composition root.

    `arn` is the mapping's event source, a stream or a consumer of one.
    `reader` tells the ARN that events name as their reader (`invokeIdentityArn`); the first read asks it.
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
        """None: ListShards does not tell it, and a stream that is being deleted is soon not found."""
        return None

    async def shards(self) -> list[Shard]:
        """A listing whose token between two pages expired begins again."""
        for _ in range(LISTINGS_BEGUN):
            try:
                return await self._listed()
            except Rejected as error:
                if error.code != "ExpiredNextTokenException":
                    raise
        raise Unreachable("every listing's token expired between its pages", code="UnusableAnswer", was_sent=True)

    async def children(self, shard_id: ShardId) -> list[Shard]:
        """The last answer of the shard named them; if it did not, as with an older service, list every shard."""
        return self._children.pop(shard_id, None) or await self.shards()

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        """That the record of an AfterSequence is gone is told by the first read that meets something else.

        A stream that was made anew has the ARN and the shards' ids of the former one, whose numbers it refuses.
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
        """Kinesis allows five reads a second and 2 MiB a second of a shard, and answers Throttled beyond that."""
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
            if following is None:
                self._children[cursor.shard_id] = list(map(_child, answer.get("ChildShards") or ()))
        if following is not None and following.leads_nowhere:
            following = following._replace(wire=await self._wire_iterator(cursor.shard_id, TrimHorizon()))
        return Read(cursor.fresh(records), None if following is None else following.written(), behind)

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
                # a shard whose children a listing has shown is never asked for them
                self._children = {each: named for each, named in self._children.items() if each in shards}
                return list(shards.values())
            request = {"NextToken": next_page}
        raise unusable(SERVICE, "a listing of shards that does not end")

    async def _call(self, operation: str, request: Mapping[str, Any]) -> Any:
        return await self._client.call(operation, orjson.dumps(request), timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)


def _records(envelope: KinesisEnvelope, shard_id: ShardId, wires: list[Mapping[str, Any]]) -> list[StreamRecord]:
    """A stream that spreads records by itself may have none with a key; then nothing is ordered by it either."""
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
    """A merge names its second parent as the adjacent one; only a closed shard's range has an end."""
    parents = (token_if_any(wire.get("ParentShardId")), token_if_any(wire.get("AdjacentParentShardId")))
    return Shard(
        ShardId(token(wire["ShardId"])),
        tuple(ShardId(parent) for parent in parents if parent),
        not wire["SequenceNumberRange"].get("EndingSequenceNumber"),
    )


def _child(wire: Mapping[str, Any]) -> Shard:
    """A child shard counts as open, because GetRecords does not tell whether it was closed meanwhile."""
    return Shard(ShardId(token(wire["ShardId"])), tuple(ShardId(token(each)) for each in wire["ParentShards"]), True)


def _milliseconds(timestamp: float) -> float:
    """As finely as arrivals are told, which are cut to it: rounded up, what arrived just then would be left out.

    A millionth of a second makes up for what binary fractions lack.
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
