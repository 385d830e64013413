"""Do the spans of the daemon reach a collector, by OTLP over HTTP?"""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra poller[otel] is not installed")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.harness import World
from tests.e2e.streams import Clicks
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.target import FakeTarget, FunctionPlan

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
FAIL = "arn:aws:lambda:eu-west-1:123456789012:function:fail"
XRAY = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


async def test_the_spans_of_a_batch_reach_the_collector_with_a_link_to_the_producer(world: World) -> None:
    orders = world.queue("orders")
    world.send(orders, '{"secret": "confidential"}', trace_header=XRAY)
    world.aws.functions[BILL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0)))
    clicks, failures = Clicks(world.aws, "clicks"), world.queue("failures")
    world.aws.functions[FAIL] = FakeTarget(FunctionPlan(duration_in_seconds=(0, 0), poison={clicks.put()}))
    text = f"""
        [mappings.m]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
        [mappings.s]
        event_source_arn = "{clicks.arn}"
        function_name = "{FAIL}"
        starting_position = "TRIM_HORIZON"
        maximum_retry_attempts = 0
        destination_config.on_failure.destination_arn = "{failures.arn}"
    """
    spans: dict[str, Span] = {}
    services = set[str]()

    async def collect(request: Request) -> Reply:
        assert (request.method, request.target) == ("POST", "/v1/traces")
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            services.add(attributes["service.name"])
            spans.update({span.name: span for scope in resource.scope_spans for span in scope.spans})
        world.watch.ring()
        return Reply(headers={"Content-Type": "application/x-protobuf"})

    async with http_server(collect) as collector:
        world.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        async with world.daemon(text) as daemon:
            await world.until_deleted(orders, 1)
            await world.watch.until(lambda: failures.message_ids)
            assert await daemon.stop() == 0
    assert services == {"poller"}
    of_queue = {"receive m", "process m", f"invoke {BILL}"}
    assert set(spans) == of_queue | {"receive s", "process s", f"invoke {FAIL}", f"send {failures.arn}"}
    assert {name for name, span in spans.items() if span.status.code} == {"process s", f"invoke {FAIL}"}
    process, call = spans["process m"], spans[f"invoke {BILL}"]
    assert call.parent_span_id == process.span_id
    [link] = process.links
    assert link.trace_id.hex() == "5759e988bd862e3fe1be46a994272793"
    assert link.span_id.hex() == "53995c3f42cd8ad8"
    assert "confidential" not in str(spans)


async def test_a_collector_that_cannot_be_reached_delays_neither_a_record_nor_the_end(world: World) -> None:
    orders = world.queue("orders")
    world.send(orders, "{}")
    world.aws.functions[BILL] = FakeTarget()
    world.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    text = f"""
        [mappings.m]
        event_source_arn = "{orders.arn}"
        function_name = "{BILL}"
    """
    async with world.daemon(text) as daemon:
        await world.until_deleted(orders, 1)
        assert await daemon.stop() == 0
