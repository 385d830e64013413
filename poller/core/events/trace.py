"""Which trace header goes on with an event, and how often did a loop bring the event back to its function?

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=68fd508a:5|c512fbe3:2

The header comes from outside, so only its known parts are read, and only if they are short and have the right form.
`Lineage` has the number of times that the event has passed each function, under a hash of the function's ARN.
Every invocation gets the header with one more pass of its own function, and so does everything that is sent on.
A retry gets the same header again, because it is no further pass.
If the event has passed its function MAXIMUM_PASSES times already, the function does not get it again. The record of
this end counts as one more pass: if the loop brings even the record back, it ends there.

Source: AWS X-Ray Developer Guide, "Tracing header"; AWS Lambda Developer Guide, "Use Lambda recursive loop detection".
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
"""How much of a header is read. A header with a full lineage has less."""

MAXIMUM_LINEAGE = 32
"""How many functions a lineage may have. Beyond it, the functions that were passed the fewest times are left out."""

_PARTS = {
    "Root": re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}"),
    "Parent": re.compile(r"[0-9a-f]{16}"),
    "Sampled": re.compile(r"[01?]"),
    "Lineage": re.compile(r"[0-9a-f]{8}:[0-9]{1,5}(\|[0-9a-f]{8}:[0-9]{1,5})*"),
}


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
    """Return how often the event has passed the function already. From MAXIMUM_PASSES on, a loop carries the event."""
    if "Lineage=" not in event.trace:  # most events come from outside, and have passed no function
        return 0
    return _read(event).lineage.get(_hash(function), 0)


def passed_on(event: Event, function: Arn) -> str:
    """Return the header for an invocation of the function, and for everything that is sent on because of the event.

    An event without a usable header gets one that is made from its request id, so it is the same for each attempt.
    """
    trace, own = _read(event), _hash(function)
    lineage = trace.lineage | {own: trace.lineage.get(own, 0) + 1}
    kept = sorted(lineage, key=lambda one: (one == own, lineage[one]))[-MAXIMUM_LINEAGE:]
    return str(trace._replace(lineage={one: lineage[one] for one in lineage if one in kept}))


def _read(event: Event) -> Trace:
    """Return the event's trace. A part that is missing or malformed is replaced."""
    parts = dict[str, str]()
    for text in event.trace[:MAXIMUM_CHARACTERS].split(";"):
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
