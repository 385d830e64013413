"""Which span describes a poll, a batch, an invocation or a delivery?

    receive orders     CONSUMER   one ReceiveMessage or GetRecords that brought records or failed
    process orders     CONSUMER   one attempt on a batch; it has links to the spans of the messages' producers
      └ invoke bill    CLIENT     the call of the function
    invoke bill        CLIENT     the call of a function with an asynchronous event or for a client; it has a link, too
    send failures      PRODUCER   one try to deliver an invocation record to a destination

A poll without records makes no span, because an idle mapping polls all the time.
A batch has several producers, so they are linked, and none of them is the parent.
No attribute has a record's content, or a function's or a service's message: only types, codes, names and numbers.

Source: OpenTelemetry Semantic Conventions, "Messaging spans", "AWS SQS" and "FaaS spans".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from poller.core.producers import ProducerSpan
from poller.errors import ServiceError
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import Invocation

Attributes = dict[str, str | int]


class Spans:
    """Makes the spans. `tracer` is OpenTelemetry's."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def polled(
        self, mapping: MappingName, system: str, *, began_at_ns: int, records: int, error_code: str | None = None
    ) -> None:
        """Make the span of a poll that has ended. `began_at_ns` is in nanoseconds since 1970."""
        attributes: Attributes = {
            "messaging.system": system,
            "messaging.operation.type": "receive",
            "messaging.batch.message_count": records,
            "poller.mapping": mapping,
        }
        span = self._span(f"receive {mapping}", SpanKind.CONSUMER, attributes, began_at_ns=began_at_ns)
        if error_code is not None:
            failed(span, error_code)
        span.end()

    @contextmanager
    def batch(self, invocation: Invocation, producers: Sequence[ProducerSpan]) -> Iterator[Span]:
        """Make the span of an attempt on a batch of a mapping."""
        attributes: Attributes = {
            "messaging.operation.type": "process",
            "poller.mapping": str(invocation.mapping),
            "poller.attempt": invocation.attempt,
        }
        if invocation.shard_id is not None:
            attributes["poller.shard"] = invocation.shard_id
        with _ended(self._span(f"process {invocation.mapping}", SpanKind.CONSUMER, attributes, producers)) as span:
            yield span

    @contextmanager
    def invocation(
        self, function: FunctionName, invocation: Invocation, producers: Sequence[ProducerSpan], *, within: Span | None
    ) -> Iterator[Span]:
        """Make the span of a call of the function. `within` is the span of its batch, if it has one."""
        attributes: Attributes = {
            "faas.invoked_name": function,
            "faas.invocation_id": invocation.request_id,
            "poller.attempt": invocation.attempt,
        }
        context = None if within is None else trace.set_span_in_context(within)
        opened = self._span(f"invoke {function}", SpanKind.CLIENT, attributes, producers, context=context)
        with _ended(opened) as span:
            yield span

    @contextmanager
    def delivery(self, destination: str, producers: Sequence[ProducerSpan]) -> Iterator[Span]:
        """Make the span of a try to deliver a document."""
        attributes: Attributes = {"messaging.operation.type": "send", "messaging.destination.name": destination}
        with _ended(self._span(f"send {destination}", SpanKind.PRODUCER, attributes, producers)) as span:
            yield span

    def _span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        producers: Sequence[ProducerSpan] = (),
        *,
        context: Context | None = None,
        began_at_ns: int | None = None,
    ) -> Span:
        span: Span = self._tracer.start_span(
            name,
            context=context,  # None means the task's own context, which never has a span of ours
            kind=kind,
            attributes=attributes,
            links=[Link(_context_of(producer)) for producer in producers],
            start_time=began_at_ns,
        )
        return span


def failed(span: Span, kind: str) -> None:
    """Mark the span as failed. `kind` is an error code or an error type, and never a message."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def headers_of(span: Span) -> tuple[str, str]:
    """Return the headers X-Amzn-Trace-Id and traceparent with which a function continues the span's trace."""
    context = span.get_span_context()
    trace_id, span_id, flags = f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags) & 1
    xray = f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={span_id};Sampled={flags}"
    return xray, f"00-{trace_id}-{span_id}-{flags:02x}"


@contextmanager
def _ended(span: Span) -> Iterator[Span]:
    """End the span after the block. An exception of the block marks it as failed, by its type alone."""
    try:
        yield span
    except BaseException as error:
        failed(span, error.code if isinstance(error, ServiceError) else type(error).__name__)
        raise
    finally:
        span.end()


def _context_of(producer: ProducerSpan) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if producer.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(producer.trace_id, producer.span_id, is_remote=True, trace_flags=flags)
