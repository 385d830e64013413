"""Does a source return and raise only what its port allows, if the service answers oddly?

Each answer of a correct fake is changed in one place (`tests/fakes/oddity.py`) before the source reads it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from random import Random
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.envelope import encode
from poller.core.streams.lanes import split
from poller.core.streams.reads import fault_in
from poller.core.streams.watermark import Watermark
from poller.errors import ServiceError
from poller.model.stream import AfterSequence, AtTimestamp, Position, SequenceNumber, ShardIterator, TrimHorizon
from poller.ports import SourceClock, StreamSource
from poller.sources.client import Client
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from poller.sources.sqs import SqsSource
from tests.fakes.clock import EPOCH
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams
from tests.fakes.kinesis import INVOKE_IDENTITY_ARN, FakeKinesis, always
from tests.fakes.oddity import odd
from tests.fakes.sqs import FakeSqs

seeds = st.integers(0, 2**32)


class OddClient:
    """A client of a service whose answers to one operation are odd if `is_odd` is set."""

    def __init__(self, client: Client, operation: str, randomness: Random) -> None:
        self._client = client
        self._operation = operation
        self._randomness = randomness

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        answer = await self._client.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        return odd(answer, self._randomness) if operation == self._operation else answer


async def allowed(result: Awaitable[Any]) -> Any:
    """Return the result, or None if the source raises an error that its port allows."""
    try:
        return await result
    except ServiceError:
        return None


async def use_stream(source: StreamSource, position: Position) -> None:
    """Use a stream as the engine does: each call uses the result of the one before."""
    for shard in await allowed(source.shards()) or ():
        assert all(type(each) is str for each in (shard.shard_id, *shard.parent_ids))
        iterator: ShardIterator | None = await allowed(source.iterator(shard.shard_id, position))
        for _ in range(4):
            read = None if iterator is None else await allowed(source.read(iterator, limit=3))
            if read is None:
                break
            iterator = read.next_iterator
            if fault_in(read) is not None:
                continue
            Watermark(TrimHorizon()).hand_out([record.sequence_number for record in read.records])
            split(read.records, 3)
            assert all(record.record is not None for record in read.records)


@pytest.mark.parametrize("operation", ["ListShards", "GetShardIterator", "GetRecords"])
@pytest.mark.parametrize("looks_for_a_record", [False, True])
@given(seed=seeds)
def test_odd_answers_of_kinesis_break_nothing(operation: str, looks_for_a_record: bool, seed: int) -> None:
    async def main() -> None:
        service = FakeKinesis(has_limits=False)
        stream = service.create_stream("clicks")
        numbers = [service.put(stream, "key", b"data") for _ in range(8)]
        stream.split("shardId-000000000000", now=anyio.current_time())
        position = AfterSequence(SequenceNumber(numbers[0])) if looks_for_a_record else TrimHorizon()
        client = OddClient(service, operation, Random(seed))
        await use_stream(KinesisSource(client, arn=stream.arn, reader=always(INVOKE_IDENTITY_ARN)), position)

    anyio.run(main)


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
@pytest.mark.parametrize("begins_at_a_time", [False, True])
@given(seed=seeds)
def test_odd_answers_of_dynamodb_break_nothing(operation: str, begins_at_a_time: bool, seed: int) -> None:
    async def main() -> None:
        service = FakeDynamoDbStreams()
        table = service.create_table("users")
        for number in range(8):
            table.put_item({"id": {"S": "1"}, "version": {"N": str(number)}})
        table.roll_over()
        position = AtTimestamp(EPOCH) if begins_at_a_time else TrimHorizon()
        client = OddClient(service, operation, Random(seed))
        await use_stream(DynamoDbStreamsSource(client, arn=table.stream.arn), position)

    anyio.run(main)


@pytest.mark.parametrize("ending", ["", ".fifo"])
@pytest.mark.parametrize("operation", ["GetQueueAttributes", "ReceiveMessage", "DeleteMessageBatch"])
@given(seed=seeds)
def test_odd_answers_of_sqs_break_nothing(ending: str, operation: str, seed: int) -> None:
    async def main() -> None:
        sqs = FakeSqs()
        queue = sqs.create_queue(f"orders{ending}")
        attribute = {"trace": {"DataType": "String", "StringValue": "1"}}
        for number in range(4):
            options = {"group": "g", "deduplication_id": str(number)} if ending else {}
            sqs.send(queue, "body", attributes=attribute, **options)
        sqs.faults.entry_failure_rate = 0.5
        source = SqsSource(
            OddClient(sqs, operation, Random(seed)), arn=queue.arn, queue_url=sqs.url(queue), has_batching_window=False
        )
        described = await allowed(source.describe())
        assert described is None or 0 <= described.visibility_timeout_in_seconds <= 43_200
        depth = await allowed(source.depth())
        assert depth is None or min(depth) >= 0
        received = source.receive(count=10, wait_in_seconds=0, visibility_timeout_in_seconds=30)
        messages = await allowed(received) or []
        for message in messages:
            if message.defect is not None:
                continue
            encode(message.record)
            assert isinstance(message.record["body"], str)
            assert isinstance(message.message_group_id, str) is bool(ending)
        rejected = await allowed(source.delete(messages[:10])) or []
        assert all(entry.message in messages for entry in rejected)
        assert len(rejected) <= len(messages)
        await allowed(source.change_visibility(messages[:10], timeout_in_seconds=0))

    anyio.run(main)
