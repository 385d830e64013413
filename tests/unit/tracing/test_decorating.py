"""Which spans do the wrapped ports make? OpenTelemetry's own exporter in memory keeps them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import anyio
import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra poller[otel] is not installed")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from poller.core.document import Document
from poller.errors import AccessDenied, Throttled
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Response
from poller.model.invocation import Throttled as ThrottledFunction
from poller.model.stream import Latest, ShardId, TrimHorizon
from poller.tracing.decorating import SpanTracing
from poller.tracing.spans import Spans
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio

BODY = "confidential"
TRACE, SPAN = 0x5759E988BD862E3FE1BE46A994272793, 0x53995C3F42CD8AD8
XRAY = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
W3C = "00-5759e988bd862e3fe1be46a994272793-1111111111111111-01"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Exported:
    """The exported spans, and the wrapper that makes them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = SpanTracing(Spans(provider.get_tracer("test")))

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return the spans that have ended, in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    @property
    def text(self) -> str:
        return "".join(span.to_json() for span in self.spans)


def values(span: ReadableSpan, *names: str) -> list[Any]:
    return [(span.attributes or {}).get(name) for name in names]


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


async def test_a_poll_with_messages_makes_a_span_and_an_empty_one_makes_none() -> None:
    exported, sqs = Exported(), FakeSqs()
    queue = sqs.create_queue("orders")
    source = exported.tracing.queue(sqs.source(queue), MappingName("m"))
    assert await source.receive(count=10, wait_in_seconds=0, visibility_timeout_in_seconds=None) == []
    assert exported.spans == []
    sqs.send(queue, BODY)
    [message] = await source.receive(count=10, wait_in_seconds=0, visibility_timeout_in_seconds=None)
    [span] = exported.spans
    assert (span.name, span.kind, span.parent) == ("receive m", SpanKind.CONSUMER, None)
    assert values(span, "messaging.system", "messaging.batch.message_count") == ["aws_sqs", 1]
    assert (span.end_time or 0) >= (span.start_time or 0) > 0
    assert BODY not in exported.text
    assert (await source.describe()).visibility_timeout_in_seconds == 30
    assert source.clock is sqs.clock
    await source.change_visibility([message], timeout_in_seconds=0)
    assert await source.delete([message]) == []


async def test_a_failed_poll_makes_a_span_with_the_code_of_the_error() -> None:
    plan = FaultPlan()
    exported, sqs = Exported(), FakeSqs(faults=plan)
    source = exported.tracing.queue(sqs.source(sqs.create_queue("orders")), MappingName("m"))
    plan.script("ReceiveMessage", Fault.ACCESS_DENIED)
    with pytest.raises(AccessDenied) as failure:
        await source.receive(count=10, wait_in_seconds=0, visibility_timeout_in_seconds=None)
    [span] = exported.spans
    assert not span.status.is_ok
    assert values(span, "error.type") == [failure.value.code]


async def test_a_read_of_a_stream_makes_a_span_if_it_brings_records_or_fails() -> None:
    plan = FaultPlan()
    exported, kinesis = Exported(), FakeKinesis(faults=plan)
    stream = kinesis.create_stream("clicks")
    raw = kinesis.source(stream)
    source = exported.tracing.stream(raw, MappingName("m"), is_kinesis=True)
    [shard] = await source.shards()
    assert (source.limits, source.status, source.clock) == (raw.limits, raw.status, raw.clock)
    await source.read(await source.iterator(shard.shard_id, Latest()), limit=10)
    assert exported.spans == []
    kinesis.put(stream, "k", BODY.encode())
    iterator = await source.iterator(shard.shard_id, TrimHorizon())
    assert len((await source.read(iterator, limit=10)).records) == 1
    plan.script("GetRecords", Fault.THROTTLED)
    with pytest.raises(Throttled):
        await source.read(await source.iterator(shard.shard_id, TrimHorizon()), limit=10)
    assert await source.children(shard.shard_id)
    read, failed = exported.spans
    assert values(read, "messaging.system", "messaging.batch.message_count") == ["aws_kinesis", 1]
    assert (read.status.is_unset, failed.status.is_ok) == (True, False)


class Function:
    """A target that keeps its invocations, and answers with `response` if this is no exception."""

    def __init__(self, response: Response | BaseException) -> None:
        self.response = response
        self.invocations: list[Invocation] = []

    async def invoke(self, invocation: Invocation) -> Response:
        self.invocations.append(invocation)
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response


def message(body: str, *, xray: str = "", w3c: str = "") -> dict[str, Any]:
    return {
        "body": body,
        "attributes": {"AWSTraceHeader": xray} if xray else {},
        "messageAttributes": {"traceparent": {"stringValue": w3c, "dataType": "String"}} if w3c else {},
    }


def of_queue(*records: dict[str, Any]) -> Invocation:
    return Invocation(RequestId("r"), json.dumps({"Records": records}).encode(), MappingName("m"), 2)


async def invoked(invocation: Invocation, response: Response | BaseException) -> tuple[Exported, Function]:
    exported, function = Exported(), Function(response)
    target = exported.tracing.target(function, FunctionName("f"))
    if isinstance(response, BaseException):
        with pytest.raises(type(response)):
            await target.invoke(invocation)
    else:
        assert await target.invoke(invocation) is response
    return exported, function


async def test_a_batch_is_linked_to_the_spans_of_its_producers_and_is_the_parent_of_its_invocation() -> None:
    batch = of_queue(message(BODY, xray=XRAY), message(BODY), message(BODY, w3c=W3C))
    exported, function = await invoked(batch, Answered(BODY.encode()))
    call, process = exported.spans
    assert [process.name, call.name] == ["process m", "invoke f"]
    assert [process.kind, call.kind] == [SpanKind.CONSUMER, SpanKind.CLIENT]
    assert (process.parent, call.parent and call.parent.span_id) == (None, process.context.span_id)
    assert links(process) == [(TRACE, SPAN), (TRACE, 0x1111111111111111)]
    assert values(process, "poller.mapping", "poller.attempt") == ["m", 2]
    assert values(call, "faas.invoked_name", "faas.invocation_id") == ["f", "r"]
    assert process.status.is_unset
    assert BODY not in exported.text
    [seen] = function.invocations
    assert seen.payload == batch.payload


async def test_the_function_gets_the_trace_of_its_invocation_in_both_forms() -> None:
    exported, function = await invoked(of_queue(message("a", xray=XRAY)), Answered(b""))
    call = exported.spans[0].context
    [seen] = function.invocations
    assert seen.traceparent == f"00-{call.trace_id:032x}-{call.span_id:016x}-01"
    root = f"{call.trace_id:032x}"
    assert seen.trace == f"Root=1-{root[:8]}-{root[8:]};Parent={call.span_id:016x};Sampled=1"


async def test_a_body_with_half_of_a_surrogate_pair_does_not_stop_the_invocation() -> None:
    exported, _ = await invoked(of_queue(message("\ud800", xray=XRAY)), Answered(b""))
    assert links(exported.spans[-1]) == [(TRACE, SPAN)]


async def test_a_batch_of_a_stream_names_its_shard_and_has_no_links() -> None:
    invocation = Invocation(RequestId("r"), b"{}", MappingName("m"), 1, shard_id=ShardId("shard-1"))
    exported, _ = await invoked(invocation, Answered(b""))
    process = exported.spans[-1]
    assert (values(process, "poller.shard"), links(process)) == (["shard-1"], [])


@pytest.mark.parametrize("trace", [{"trace": XRAY}, {"traceparent": W3C}])
async def test_an_event_or_a_call_keeps_its_own_trace_and_its_invocation_is_linked_to_it(trace: dict[str, str]) -> None:
    invocation = Invocation(RequestId("r"), BODY.encode(), None, 1)._replace(**trace)  # type: ignore[arg-type]
    exported, function = await invoked(invocation, Answered(b""))
    [call] = exported.spans
    assert (call.name, call.parent) == ("invoke f", None)
    assert [trace_id for trace_id, _ in links(call)] == [TRACE]
    assert function.invocations == [invocation]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (FunctionError(error_type="ValueError", message=BODY, log_tail=BODY), "ValueError"),
        (ThrottledFunction(reason="TooMany"), "Throttled"),
        (LostAnswer(reason="timeout"), "LostAnswer"),
        (RuntimeError(BODY), "RuntimeError"),
    ],
)
async def test_a_batch_that_does_not_succeed_marks_both_spans_as_failed_without_a_message(
    response: Response | BaseException, kind: str
) -> None:
    exported, _ = await invoked(of_queue(message("a")), response)
    assert [values(span, "error.type") for span in exported.spans] == [[kind], [kind]]
    assert not any(span.status.is_ok for span in exported.spans)
    assert BODY not in exported.text


async def test_a_cancelled_invocation_ends_its_spans() -> None:
    class Hanging:
        async def invoke(self, _: Invocation) -> Response:
            await anyio.sleep_forever()
            raise AssertionError

    exported = Exported()
    with anyio.move_on_after(0):
        await exported.tracing.target(Hanging(), FunctionName("f")).invoke(of_queue())
    assert [span.name for span in exported.spans] == ["invoke f", "process m"]


def document(**trace: str) -> Document:
    return Document(BODY.encode(), None, "", 0.0, UUID(int=1), **trace)  # type: ignore[arg-type]


async def test_a_delivery_to_a_destination_makes_a_span_that_is_linked_to_the_trace_of_the_document() -> None:
    exported = Exported()
    destination = exported.tracing.destination(FakeDestination(), "arn:of:failures")
    await destination.deliver(
        Document(b'{"requestContext":{},"KinesisBatchInfo":{}}', None, "", 0.0, UUID(int=1), trace=XRAY)
    )
    [span] = exported.spans
    assert (span.name, span.kind) == ("send arn:of:failures", SpanKind.PRODUCER)
    assert links(span) == [(TRACE, SPAN)]


async def test_a_refused_delivery_makes_a_span_with_the_code_of_the_error() -> None:
    class Refusing:
        async def deliver(self, _: Document) -> None:
            raise AccessDenied(BODY, code="AccessDeniedException")

    exported = Exported()
    with pytest.raises(AccessDenied):
        await exported.tracing.destination(Refusing(), "arn:of:failures").deliver(document())
    [span] = exported.spans
    assert values(span, "error.type") == ["AccessDeniedException"]
    assert BODY not in exported.text
