"""Which events do tests put into a queue? Small events, each with its own request id."""

from __future__ import annotations

from itertools import count
from math import floor
from typing import Any

from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId

RESIZE, MAIL = FunctionName("resize"), FunctionName("mail")

_NUMBERS = count(1)


def event(now: float, *, due_in: float = 0.0, **fields: Any) -> Event:
    """Return an event that is accepted now, to the millisecond. `fields` are fields of Event."""
    now = floor(now * 1000) / 1000
    request_id = RequestId(f"00000000-0000-4000-8000-{next(_NUMBERS):012}")
    defaults: dict[str, Any] = {"function": RESIZE, "payload": b"{}", "accepted_at": now, "due_at": now + due_in}
    return Event(**{"request_id": request_id} | defaults | fields)
