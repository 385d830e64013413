"""TRACING: OpenTelemetry spans of polls, batches, invocations and destinations, exported by OTLP over HTTP.

    spans.py        which span describes a poll, a batch, an invocation or a delivery?
    wrapping.py     lets the compositions wrap a port, also without tracing
    decorating.py   wraps the ports of the engine, so that each call makes a span
    opening.py      makes the exporter, if the environment asks for one, and sends the last spans at the end

The compositions wrap a source, a target or a destination when they open it. Without tracing the wrapper is the port
itself, and OpenTelemetry is not imported; so the engine knows nothing of spans, and they cost nothing.

Belongs here: everything that imports OpenTelemetry (the extra `poller[otel]`).
Does not belong here: what happens to a record, and which producer a message names (core/producers.py).
"""
