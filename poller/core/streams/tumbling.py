"""Which window does a record belong to, and when does it close?

A window's bounds are multiples of its length since the epoch, and a record belongs where it arrived.
One window of a shard is open at a time, and its state goes from answer to invocation:

    no window ──record──> open, state {} ──batch settled──> open, the state returned ──close──> no window
                                                    └──state above 1 MB──> closed early, open again with {}

A window closes with an invocation without records, by the first of

    a later record      the next record belongs to a later window; it waits until this one is closed
    the shard's end     windows do not outlive their shard
    idleness            30 seconds after the window's end nothing more has come and the reader has caught up

and a window without records is never opened.  An answer without state is a failure.

AWS says nothing on some points.  Chosen here: a record that arrives late, with its window closed and the next one open,
counts in the open one, for a shard's windows only move forward; after an early end the same window goes on with `{}`;
an answer that failed partly hands on its state with the records before the first failed one; the last invocation's
answer needs no state, since it is dropped.
Source: AWS Lambda Developer Guide, "Configuring Kinesis Data Streams for stateful processing" (tumbling windows); the
early end was seen on AWS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, NoReturn, Protocol

from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.envelope import encode, window_event
from poller.core.outcome import INVALID_RESPONSE
from poller.model.invocation import Answered, Response
from poller.model.outcome import Failed, Outcome, Oversized, Postponed
from poller.model.stream import Window

FIRST_STATE = b"{}"

MAXIMUM_STATE_BYTES = 1_048_576
"""Bytes of a state as JSON: 1 MB for each shard (AWS Lambda Developer Guide). A larger one ends its window early."""

IDLE_DELAY_IN_SECONDS = 30.0
"""How long after its end an idle window stays open for records still to be read. AWS takes up to two minutes."""

Closing = Literal["later record", "shard end", "idle"]


class Arrived(Protocol):
    @property
    def arrived_at(self) -> float: ...


def opened(arrived_at: float, length_in_seconds: int) -> Window:
    """The window of a record, before its first invocation."""
    start = int(arrived_at // length_in_seconds) * length_in_seconds
    return Window(start, start + length_in_seconds, FIRST_STATE)


def within(window: Window, records: Sequence[Arrived]) -> int:
    """How many of the records, from the first, go into the window; the one after them closes it."""
    return next((index for index, record in enumerate(records) if record.arrived_at >= window.end), len(records))


def closing(
    window: Window, *, next_arrived_at: float | None, caught_up_at: float | None, is_shard_end: bool
) -> Closing | None:
    """Why the window must close now, if it must. All of its records that were read are done.

    `next_arrived_at` is of the next record in hand, `is_shard_end` says that there will be none; what had arrived by
    `caught_up_at` has been read.
    """
    if next_arrived_at is not None:
        return "later record" if next_arrived_at >= window.end else None
    if is_shard_end:
        return "shard end"
    return "idle" if caught_up_at is not None and caught_up_at >= idle_at(window) else None


def idle_at(window: Window) -> float:
    """When the window closes if nothing more comes."""
    return window.end + IDLE_DELAY_IN_SECONDS


def interpret(outcome: Outcome, response: Response, *, is_final: bool) -> Outcome:
    """What the answer means in a window: `outcome`, unless it hands on no state though one is needed."""
    if is_final or isinstance(outcome, Failed | Postponed | Oversized):
        return outcome
    if _state_in(response) is None:
        return Failed(INVALID_RESPONSE, "the response has no state, which a tumbling window needs")
    return outcome


def settled(window: Window, response: Response) -> Window:
    """The window after records were settled by this answer: it carries the state returned."""
    state = _state_in(response)
    assert state is not None, "an answer without state settles nothing"
    return window._replace(state=state)


def must_end_early(window: Window) -> bool:
    """True when the state has outgrown its limit: the last invocation comes now, with all of that state."""
    return len(window.state) > MAXIMUM_STATE_BYTES


def continued(window: Window) -> Window:
    """The same window after an early end."""
    return window._replace(state=FIRST_STATE)


def room_in_bytes(shard_id: str, arn: str, *, state_bytes: int = MAXIMUM_STATE_BYTES) -> int:
    """What an event that carries so much state has for records and the commas between them."""
    window = Window(0, 0, b" " * state_bytes)
    empty = window_event([], shard_id=shard_id, arn=arn, window=window, is_final=False, is_terminated_early=False)
    return MAXIMUM_EVENT_BYTES - len(empty)


def _state_in(response: Response) -> bytes | None:
    """The state returned, as JSON; None without one. A null is none.

    The standard library reads it, so that integers of any length come through.
    """
    if not isinstance(response, Answered):
        return None
    try:
        body = json.loads(response.payload or b"null", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    state = body.get("state") if isinstance(body, dict) else None
    return None if state is None else encode(state)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
