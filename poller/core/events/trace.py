"""Which trace header does a function receive with an event, and how often has the event passed the function?

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=68fd508a:5|c512fbe3:2

A client writes the header, so only its known parts are read, and only if they are short and have the right form.
If a client sends only the W3C header `traceparent`, Root, Parent and Sampled are those of the W3C trace.
`Lineage` counts, for each function, how often the event has passed the function. The key is a hash of the ARN.
The header of an invocation counts one more pass of the invoked function. The invocation records about the event have
the same header. A retry has the same header again, because a retry is not a further pass.
After MAXIMUM_PASSES passes, the event ends without another invocation. The invocation record about this end counts one
more pass. If a loop sends this record to the function as an event, that event ends too, and no record is sent about it.

Source: AWS X-Ray Developer Guide, "Tracing header", "Sending trace data to AWS X-Ray" (trace ids of W3C); W3C Trace
Context, "Traceparent Header"; AWS Lambda Developer Guide, "Use Lambda recursive loop detection".
AWS counts about 16 passes. It does not document how it writes them into `Lineage`; the form above is ours.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import NamedTuple

from poller.model.arn import Arn, unqualified
from poller.model.event import Event

MAXIMUM_PASSES = 16

MAXIMUM_CHARACTERS = 2048
"""The longest header that is used. A header with a full lineage has fewer characters."""

TRACE_HEADER, TRACEPARENT = "AWSTraceHeader", "traceparent"
"""The attributes of a message that have the headers X-Amzn-Trace-Id and traceparent."""

MAXIMUM_LINEAGE = 32
"""How many functions a lineage may have. If there are more, the functions with the fewest passes are left out."""

_PARTS = {
    "Root": re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}"),
    "Parent": re.compile(r"[0-9a-f]{16}"),
    "Sampled": re.compile(r"[01?]"),
    "Lineage": re.compile(r"[0-9a-f]{8}:[0-9]{1,5}(\|[0-9a-f]{8}:[0-9]{1,5})*"),
}

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{8})([0-9a-f]{24})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_PRINTABLE = re.compile(r"[ -~]*")


class Trace(NamedTuple):
    """A trace header. `lineage` maps the hash of a function to the number of times that the event has passed it."""

    root: str
    parent: str
    sampled: str
    lineage: dict[str, int]

    def __str__(self) -> str:
        text = f"Root={self.root};Parent={self.parent};Sampled={self.sampled}"
        passes = "|".join(f"{function}:{count}" for function, count in self.lineage.items())
        return f"{text};Lineage={passes}" if passes else text


def passes(event: Event, function: Arn) -> int:
    """Return how often the event has passed the function. MAXIMUM_PASSES or more mean that the event is in a loop."""
    if "Lineage=" not in event.trace:  # most events come from outside, and have passed no function
        return 0
    return _read(event).lineage.get(_hash(function), 0)


def passed_on(event: Event, function: Arn) -> str:
    """Return the header for an invocation of the function with the event, and for the records about the event.

    If the event has no usable header, a header is made from its request id, so each attempt has the same header.
    """
    trace, own = _read(event), _hash(function)
    lineage = trace.lineage | {own: trace.lineage.get(own, 0) + 1}
    kept = sorted(lineage, key=lambda one: (one == own, lineage[one]))[-MAXIMUM_LINEAGE:]
    return str(trace._replace(lineage={one: lineage[one] for one in lineage if one in kept}))


def usable(header: object) -> str:
    """Return the value of a header from outside, or an empty text if the value is too long or not printable ASCII."""
    is_usable = isinstance(header, str) and len(header) <= MAXIMUM_CHARACTERS and _PRINTABLE.fullmatch(header)
    return str(header) if is_usable else ""


def of_traceparent(traceparent: str) -> str:
    """Return the header X-Amzn-Trace-Id for a W3C trace; empty if `traceparent` is not a valid header."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return ""
    time, unique, parent, flags = found.groups()
    return f"Root=1-{time}-{unique};Parent={parent};Sampled={int(flags, 16) & 1}"


def _read(event: Event) -> Trace:
    """Return the event's trace. If a part is missing or malformed, it is made from the event's request id and time."""
    parts = dict[str, str]()
    header = event.trace if "Root=" in event.trace else f"{event.trace};{of_traceparent(event.traceparent)}"
    for text in header.split(";"):
        name, _, value = text.strip().partition("=")
        if name in _PARTS and _PARTS[name].fullmatch(value):
            parts.setdefault(name, value)
    digits = hashlib.sha256(event.request_id.encode()).hexdigest()
    return Trace(
        root=parts.get("Root", f"1-{int(event.accepted_at):08x}-{digits[:24]}"),
        parent=parts.get("Parent", digits[24:40]),
        sampled=parts.get("Sampled", "0"),
        lineage=_lineage(parts.get("Lineage", "")),
    )


def _lineage(text: str) -> dict[str, int]:
    entries = (entry.split(":") for entry in text.split("|") if entry)
    return {function: int(count) for function, count in entries}


@functools.lru_cache(maxsize=1024)
def _hash(function: Arn) -> str:
    return hashlib.sha256(str(unqualified(function)).encode()).hexdigest()[:8]
