"""How does `poller tail` reach the source of a mapping? It opens the source alone: no function, no state, no lease.

a stream    follow(): each shard is read with iterators of its own (engine/streams/tail.py)
a queue     peek(): each message is received once, shown, and made visible again at once
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import orjson

from poller.aws.clients import Aws
from poller.core.filtering import RecordFilter, compile_filters
from poller.core.queues.peeking import PEEK_TIMEOUT_IN_SECONDS, why_no_peek
from poller.engine.streams import tail
from poller.engine.streams.tail import TailedRecord
from poller.errors import Rejected
from poller.event_queue_composition import aws_settings
from poller.model.arn import queue_url
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.message import Message
from poller.model.stream import StartingPosition
from poller.ports import StreamSource
from poller.settings.values import Settings
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from poller.sources.pacing import Pace, PacedClient
from poller.sources.reader_identity import AskedOnce, reader_arn
from poller.sources.sqs import MAXIMUM_MESSAGES_IN_A_CALL, SqsSource

ANSWER_TIMEOUT_IN_SECONDS = 10.0
RELEASE_TIMEOUT_IN_SECONDS = 5.0
"""How long making the messages visible again may take at the end. We chose both."""


def follow(
    settings: Settings,
    mapping: StreamMapping,
    starting: StartingPosition,
    *,
    show: Callable[[TailedRecord], None],
    remark: Callable[[str], None],
    limit: int | None,
) -> None:
    """Show the records of the stream that match the mapping's filters. Raises PollerError."""

    async def run() -> None:
        async with Aws(aws_settings(settings)) as aws:
            await tail.follow(
                await _stream(settings, mapping, aws),
                starting,
                filters=_filters(mapping),
                randomness=random.Random(),
                show=show,
                remark=remark,
                limit=limit,
            )

    anyio.run(run)


def peek(settings: Settings, mapping: QueueMapping, *, show: Callable[[Message], None], limit: int) -> None:
    """Receive up to `limit` messages once, and show those that match the mapping's filters. Raises PollerError.

    Raises Rejected, without a receive, if the queue does not allow it (`core/queues/peeking.py`).
    """
    anyio.run(partial(_peek, settings, mapping, show=show, limit=limit))


async def _peek(settings: Settings, mapping: QueueMapping, *, show: Callable[[Message], None], limit: int) -> None:
    arn, filters = mapping.event_source_arn, _filters(mapping)
    async with Aws(aws_settings(settings)) as aws:
        client = await aws.json_client("sqs", region=mapping.region, role_arn=mapping.role_arn)
        url = queue_url(client.endpoint_url, arn)
        request = orjson.dumps({"QueueUrl": url, "AttributeNames": ["All"]})
        answer = await client.call("GetQueueAttributes", request, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)
        if (why := why_no_peek(_attributes(answer), is_fifo=mapping.is_fifo)) is not None:
            raise Rejected(why, code="PeekRefused")
        source = SqsSource(client, arn=arn, queue_url=url, has_batching_window=False)
        received: dict[str, Message] = {}
        try:
            while len(received) < limit:
                messages = await source.receive(
                    count=min(MAXIMUM_MESSAGES_IN_A_CALL, limit - len(received)),
                    wait_in_seconds=1,
                    visibility_timeout_in_seconds=PEEK_TIMEOUT_IN_SECONDS,
                )
                new = [message for message in messages if message.message_id not in received]
                received |= {message.message_id: message for message in new}
                if not new:
                    break
                for message in new:
                    if message.defect is None and (filters is None or filters.matches(message.record)):
                        show(message)
        finally:
            with anyio.move_on_after(RELEASE_TIMEOUT_IN_SECONDS, shield=True):
                await _release(source, list(received.values()))


async def _release(source: SqsSource, messages: list[Message]) -> None:
    for start in range(0, len(messages), MAXIMUM_MESSAGES_IN_A_CALL):
        await source.change_visibility(messages[start : start + MAXIMUM_MESSAGES_IN_A_CALL], timeout_in_seconds=0)


def _attributes(answer: Any) -> dict[str, Any]:
    """Return the attributes. Raise Rejected if the answer has none: then nobody knows whether a look is harmless."""
    attributes = answer.get("Attributes") if isinstance(answer, dict) else None
    if not isinstance(attributes, dict):
        raise Rejected("SQS does not tell the attributes of the queue", code="UnusableAnswer")
    return attributes


async def _stream(settings: Settings, mapping: StreamMapping, aws: Aws) -> StreamSource:
    arn, region, role_arn = mapping.event_source_arn, mapping.region, mapping.role_arn
    if not mapping.is_kinesis:
        client = await aws.json_client("dynamodbstreams", region=region, role_arn=role_arn)
        return DynamoDbStreamsSource(PacedClient(client, Pace("DescribeStream", random.Random())), arn=arn)
    client = await aws.json_client("kinesis", region=region, role_arn=role_arn)
    kind = settings.functions[mapping.function_name].kind
    reader = partial(reader_arn, mapping, kind, aws, role_of_function=AskedOnce(), own_identity=AskedOnce())
    return KinesisSource(PacedClient(client, Pace("ListShards", random.Random())), arn=arn, reader=reader)


def _filters(mapping: QueueMapping | StreamMapping) -> RecordFilter | None:
    if not mapping.filters:
        return None
    if isinstance(mapping, QueueMapping):
        return compile_filters(mapping.filters, data_key="body")
    return compile_filters(mapping.filters, data_key="data" if mapping.is_kinesis else "dynamodb")
