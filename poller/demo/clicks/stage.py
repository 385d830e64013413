"""How does the tour create, fill and read the stream and the queue? With plain AWS calls to the emulator.

    clicks      a Kinesis stream
    failures    a queue for the invocation records of discarded records; each says where in the stream the records are

Source: Amazon Kinesis Data Streams API reference, "PutRecords", "GetShardIterator".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anyio

from poller.demo.clicks.story import FAILURES, STREAM, Click
from poller.demo.clicks.trace import Sighting
from poller.demo.clients import Clients
from poller.demo.processes import DemoError

LOOK_EVERY_SECONDS = 0.1
ACTIVE_IN_SECONDS = 20.0
MESSAGES_PER_CALL = 10
"""The largest number of messages in one ReceiveMessage. Source: SQS API reference."""


class Reported(NamedTuple):
    """An invocation record, and the data of the first record that it names. The data comes from the stream."""

    record: Mapping[str, Any]
    data: bytes

    @property
    def batch(self) -> Mapping[str, Any]:
        batch: Mapping[str, Any] = self.record["KinesisBatchInfo"]
        return batch


class Shard(NamedTuple):
    """A shard of the stream.

    `parents` are the one shard that was split or the two that were merged into this one, or empty for the first shards.
    """

    name: str
    parents: tuple[str, ...]
    is_closed: bool
    first_hash_key: int
    last_hash_key: int


class Stage:
    """The stream and the queue. `arns` has the ARN of each, by name."""

    def __init__(self, clients: Clients) -> None:
        self._sqs = clients.sqs
        self._kinesis = clients.kinesis
        self._fetched: dict[str, bytes] = {}
        self.failures_url = ""
        self.arns: dict[str, str] = {}

    async def build(self, shards: int) -> None:
        """Create the queue, and the stream with this number of shards."""
        await self._kinesis.create_stream(StreamName=STREAM, ShardCount=shards)
        self.arns[STREAM] = await self.active()
        self.failures_url = (await self._sqs.create_queue(QueueName=FAILURES))["QueueUrl"]
        answer = await self._sqs.get_queue_attributes(QueueUrl=self.failures_url, AttributeNames=["QueueArn"])
        self.arns[FAILURES] = answer["Attributes"]["QueueArn"]

    async def active(self) -> str:
        """Wait until the stream is active, and return its ARN. Raise DemoError if that takes too long."""
        with anyio.move_on_after(ACTIVE_IN_SECONDS):
            while True:
                summary = (await self._kinesis.describe_stream_summary(StreamName=STREAM))["StreamDescriptionSummary"]
                if summary["StreamStatus"] == "ACTIVE":
                    return str(summary["StreamARN"])
                await anyio.sleep(LOOK_EVERY_SECONDS)
        raise DemoError(f"the stream {STREAM} was not active within {ACTIVE_IN_SECONDS:.0f} s")

    async def put(self, clicks: Sequence[Click]) -> list[Sighting]:
        """Put the clicks into the stream. Return those that the stream accepted, with their positions."""
        records = [{"Data": click.data, "PartitionKey": click.user} for click in clicks]
        answer = await self._kinesis.put_records(StreamName=STREAM, Records=records)
        return [
            Sighting(click, taken["ShardId"], taken["SequenceNumber"])
            for click, taken in zip(clicks, answer["Records"], strict=True)
            if "SequenceNumber" in taken
        ]

    async def shards(self) -> list[Shard]:
        """Return all shards, with the closed ones, in the order of their names."""
        listed = (await self._kinesis.list_shards(StreamName=STREAM))["Shards"]
        return sorted(_shard(shard) for shard in listed)

    async def split(self, shard: Shard) -> None:
        """Split a shard in the middle of its hash keys, and wait until both halves can be used."""
        middle = (shard.first_hash_key + shard.last_hash_key + 1) // 2
        await self._kinesis.split_shard(StreamName=STREAM, ShardToSplit=shard.name, NewStartingHashKey=str(middle))
        await self.active()

    async def merge(self, shard: Shard, other: Shard) -> None:
        """Merge two shards with neighbouring hash keys, and wait until the new shard can be used."""
        await self._kinesis.merge_shards(StreamName=STREAM, ShardToMerge=shard.name, AdjacentShardToMerge=other.name)
        await self.active()

    async def reported(self) -> list[Reported]:
        """Return at most ten invocation records, each with its first record's data. The messages stay in the queue."""
        answer = await self._sqs.receive_message(
            QueueUrl=self.failures_url, MaxNumberOfMessages=MESSAGES_PER_CALL, VisibilityTimeout=0
        )
        records = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [Reported(record, await self._fetch(record["KinesisBatchInfo"])) for record in records]

    async def _fetch(self, batch: Mapping[str, Any]) -> bytes:
        """Return the data of the record at the first sequence number of an invocation record, or no bytes."""
        sequence_number = batch["startSequenceNumber"]
        if sequence_number not in self._fetched:
            iterator = await self._kinesis.get_shard_iterator(
                StreamName=STREAM,
                ShardId=batch["shardId"],
                ShardIteratorType="AT_SEQUENCE_NUMBER",
                StartingSequenceNumber=sequence_number,
            )
            answer = await self._kinesis.get_records(ShardIterator=iterator["ShardIterator"], Limit=1)
            self._fetched[sequence_number] = answer["Records"][0]["Data"] if answer["Records"] else b""
        return self._fetched[sequence_number]


def _shard(described: Mapping[str, Any]) -> Shard:
    parents = (described.get("ParentShardId"), described.get("AdjacentParentShardId"))
    return Shard(
        described["ShardId"],
        tuple(parent for parent in parents if parent),
        "EndingSequenceNumber" in described["SequenceNumberRange"],
        int(described["HashKeyRange"]["StartingHashKey"]),
        int(described["HashKeyRange"]["EndingHashKey"]),
    )
