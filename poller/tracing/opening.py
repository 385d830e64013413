"""When are spans exported, and where to? The environment says it, with OpenTelemetry's own variables.

    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT   one of them turns tracing on
    OTEL_SDK_DISABLED=true, OTEL_TRACES_EXPORTER=none                 each of them turns it off
    all others (headers, timeouts, sampler, attributes, queue)        are read by OpenTelemetry's SDK

Spans wait in a bounded queue, and a thread of the SDK sends them. If the collector does not answer, spans are
lost, and no record is delayed.

Source: OpenTelemetry Specification, "Environment Variable Specification" and "OTLP Exporter Configuration".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from threading import Thread

import anyio
import anyio.to_thread

from poller.facts import Emit, SettingsWarning
from poller.tracing.wrapping import Tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

LAST_SPANS_IN_SECONDS = 5.0
"""How long the daemon waits at its end until the last spans are sent. We chose this number."""


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the environment asks for spans."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(environ.get(name) for name in ENDPOINTS)


@asynccontextmanager
async def open_tracing(environ: Mapping[str, str], emit: Emit) -> AsyncIterator[Tracing]:
    """Yield the wrapper of ports. It makes spans if the environment asks for them. At the end, send the last spans.

    If the extra `otel` is not installed, a warning is logged, and there are no spans.
    """
    if not is_wanted(environ):
        yield Tracing()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        emit(SettingsWarning("the environment asks for OpenTelemetry spans, but the extra is missing: poller[otel]"))
        yield Tracing()
        return
    from poller import __version__
    from poller.tracing.decorating import SpanTracing
    from poller.tracing.spans import Spans

    resource = Resource.create()
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "poller"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter()
    give_up: Callable[[], None] = exporter.shutdown
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield SpanTracing(Spans(provider.get_tracer("poller", __version__)))
    finally:
        ending = Thread(
            target=provider.shutdown, daemon=True
        )  # the interpreter's end does not wait for a daemon thread
        ending.start()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(ending.join, LAST_SPANS_IN_SECONDS)
        if ending.is_alive():
            give_up()
