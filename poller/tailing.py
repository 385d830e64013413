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
from poller.composition.event_queues import aws_settings
from poller.composition.sources import SourceComposition, filter_of
from poller.core.queues.peeking import PEEK_TIMEOUT_IN_SECONDS, why_no_peek
from poller.engine.streams import tail
from poller.engine.streams.tail import TailedRecord
from poller.errors import Rejected
from poller.model.arn import queue_url
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.message import Message
from poller.model.stream import StartingPosition
from poller.settings.values import Settings
from poller.sources.reader_identity import AskedOnce
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
            source = await SourceComposition(random.Random()).stream(
                mapping,
                settings.functions[mapping.function_name].kind,
                aws,
                role_of_function=AskedOnce(),
                own_identity=AskedOnce(),
            )
            await tail.follow(
                source,
                starting,
                filters=filter_of(mapping),
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
    arn, filters = mapping.event_source_arn, filter_of(mapping)
    async with Aws(aws_settings(settings)) as aws:
        client = await aws.json_client("sqs", region=mapping.region, role_arn=mapping.role_arn)
        url = queue_url(client.endpoint_url, arn)
        request = orjson.dumps({"QueueUrl": url, "AttributeNames": ["All"]})
        answer = await client.call("GetQueueAttributes", request, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)
        if (why := why_no_peek(_attributes(answer), is_fifo=mapping.is_fifo)) is not None:
            raise Rejected(why, code="PeekRefused")
        source = await SourceComposition(random.Random()).queue(mapping, aws)
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
    """Return the attributes. Raise Rejected if there are none, because only they tell whether a receive does harm."""
    attributes = answer.get("Attributes") if isinstance(answer, dict) else None
    if not isinstance(attributes, dict):
        raise Rejected("SQS does not return the attributes of the queue", code="UnusableAnswer")
    return attributes
