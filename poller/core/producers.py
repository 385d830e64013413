"""Which spans have produced the messages of a batch? A producer may name its span in one of two headers of a message.

    traceparent       00-<trace id>-<span id>-<flags>                            a message attribute (W3C)
    AWSTraceHeader    Root=1-<8 digits>-<24 digits>;Parent=<span id>;Sampled=1   a system attribute (X-Ray)

The two parts of Root are the 32 hexadecimal digits of the W3C trace id.
Records of streams have no such header.

Sources: W3C Trace Context, "Traceparent Header"; AWS X-Ray Developer Guide, "Tracing header" and "Sending trace data to
AWS X-Ray"; Amazon SQS Developer Guide, "Message system attributes".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from poller.core.events.trace import TRACE_HEADER, TRACEPARENT, of_traceparent, usable

MAXIMUM_SPANS = 128
"""The most spans of one batch. A span of OpenTelemetry has at most this many links (OTEL_SPAN_LINK_COUNT_LIMIT)."""

_ROOT = re.compile(r"(?:^|;)\s*Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?=;|$)")
_PARENT = re.compile(r"(?:^|;)\s*Parent=(?!0{16})([0-9a-f]{16})(?=;|$)")
_SAMPLED = re.compile(r"(?:^|;)\s*Sampled=1(?=;|$)")


class ProducerSpan(NamedTuple):
    trace_id: int
    span_id: int
    is_sampled: bool


def span_of(header: object) -> ProducerSpan | None:
    """Return the span that a header of either form names, or None."""
    text = usable(header)
    text = of_traceparent(text) or text
    root, parent = _ROOT.search(text), _PARENT.search(text)
    if root is None or parent is None:
        return None
    return ProducerSpan(int(root[1] + root[2], 16), int(parent[1], 16), _SAMPLED.search(text) is not None)


def spans_of(records: Iterable[Mapping[str, Any]]) -> list[ProducerSpan]:
    """Return the spans that the records of an event name, each once. `traceparent` counts if a message has both."""
    found: dict[ProducerSpan, None] = {}
    for record in records:
        w3c = record.get("messageAttributes", {}).get(TRACEPARENT, {}).get("stringValue")
        span = span_of(w3c) or span_of(record.get("attributes", {}).get(TRACE_HEADER))
        if span is not None:
            found[span] = None
        if len(found) == MAXIMUM_SPANS:
            break
    return list(found)
