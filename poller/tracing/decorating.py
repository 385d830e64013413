"""How does a call of a port become a span? A wrapper of the port makes the span, and passes the call on unchanged.

a source        a poll with records, or with an error
a target        a batch and an invocation; the function gets their trace, unless the call has a trace of its own
a destination   a delivery
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import orjson
from opentelemetry.trace import Span

from poller.core.document import Document
from poller.core.producers import ProducerSpan, span_of, spans_of
from poller.errors import ServiceError
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.model.stream import Position, Read, Shard, ShardId, ShardIterator, StreamLimits
from poller.ports import Destination, QueueSource, SourceClock, StreamSource, Target
from poller.tracing.spans import Spans, failed, headers_of
from poller.tracing.wrapping import Tracing


class SpanTracing(Tracing):
    """Wraps ports, so that their calls make spans."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def queue(self, source: QueueSource, mapping: MappingName) -> QueueSource:
        return _Queue(source, mapping, self._spans)

    def stream(self, source: StreamSource, mapping: MappingName, *, is_kinesis: bool) -> StreamSource:
        return _Stream(source, mapping, "aws_kinesis" if is_kinesis else "aws_dynamodb_streams", self._spans)

    def target(self, target: Target, function: FunctionName) -> Target:
        return _Target(target, function, self._spans)

    def destination(self, destination: Destination, name: str) -> Destination:
        return _Destination(destination, name, self._spans)


class _Queue:
    def __init__(self, source: QueueSource, mapping: MappingName, spans: Spans) -> None:
        self._source = source
        self._mapping = mapping
        self._spans = spans

    @property
    def clock(self) -> SourceClock:
        return self._source.clock

    async def describe(self) -> QueueAttributes:
        return await self._source.describe()

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        began_at_ns = time.time_ns()
        try:
            messages = await self._source.receive(
                count=count,
                wait_in_seconds=wait_in_seconds,
                visibility_timeout_in_seconds=visibility_timeout_in_seconds,
            )
        except ServiceError as error:
            self._spans.polled(self._mapping, "aws_sqs", began_at_ns=began_at_ns, records=0, error_code=error.code)
            raise
        if messages:
            self._spans.polled(self._mapping, "aws_sqs", began_at_ns=began_at_ns, records=len(messages))
        return messages

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        return await self._source.delete(messages)

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        return await self._source.change_visibility(messages, timeout_in_seconds=timeout_in_seconds)


class _Stream:
    def __init__(self, source: StreamSource, mapping: MappingName, system: str, spans: Spans) -> None:
        self._source = source
        self._mapping = mapping
        self._system = system
        self._spans = spans

    @property
    def clock(self) -> SourceClock:
        return self._source.clock

    @property
    def limits(self) -> StreamLimits:
        return self._source.limits

    @property
    def status(self) -> str | None:
        return self._source.status

    async def shards(self) -> list[Shard]:
        return await self._source.shards()

    async def children(self, shard_id: ShardId) -> list[Shard]:
        return await self._source.children(shard_id)

    async def iterator(self, shard_id: ShardId, position: Position) -> ShardIterator:
        return await self._source.iterator(shard_id, position)

    async def read(self, iterator: ShardIterator, *, limit: int) -> Read:
        began_at_ns = time.time_ns()
        try:
            read = await self._source.read(iterator, limit=limit)
        except ServiceError as error:
            self._spans.polled(self._mapping, self._system, began_at_ns=began_at_ns, records=0, error_code=error.code)
            raise
        if read.records:
            self._spans.polled(self._mapping, self._system, began_at_ns=began_at_ns, records=len(read.records))
        return read


class _Target:
    def __init__(self, target: Target, function: FunctionName, spans: Spans) -> None:
        self._target = target
        self._function = function
        self._spans = spans

    async def invoke(self, invocation: Invocation) -> Response:
        if invocation.mapping is None:
            with self._spans.invocation(self._function, invocation, _producers(invocation), within=None) as call:
                response = await self._target.invoke(invocation)
                _judge(response, call)
                return response
        with (
            self._spans.batch(invocation, _producers(invocation)) as batch,
            self._spans.invocation(self._function, invocation, (), within=batch) as call,
        ):
            xray, w3c = headers_of(call)
            response = await self._target.invoke(invocation._replace(trace=xray, traceparent=w3c))
            _judge(response, batch, call)
            return response


class _Destination:
    def __init__(self, destination: Destination, name: str, spans: Spans) -> None:
        self._destination = destination
        self._name = name
        self._spans = spans

    async def deliver(self, document: Document) -> None:
        with self._spans.delivery(self._name, _linked(document.traceparent, document.trace)):
            await self._destination.deliver(document)


def _producers(invocation: Invocation) -> list[ProducerSpan]:
    """Return the spans that the event, the call, or the messages of the batch name as their producers."""
    if invocation.mapping is None:
        return _linked(invocation.traceparent, invocation.trace)
    if invocation.shard_id is not None:
        return []
    return spans_of(_parsed(invocation.payload)["Records"])


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:  # orjson refuses half of a surrogate pair, which a body may have
        return json.loads(payload)


def _linked(traceparent: str, trace: str) -> list[ProducerSpan]:
    span = span_of(traceparent) or span_of(trace)
    return [] if span is None else [span]


def _judge(response: Response, *spans: Span) -> None:
    """Mark the spans as failed if the response says that the function failed or was not reached."""
    match response:
        case Answered():
            return
        case FunctionError(error_type=kind):
            pass
        case Throttled() | Unreachable() | TooLarge() | LostAnswer():
            kind = type(response).__name__
    for span in spans:
        failed(span, kind)
