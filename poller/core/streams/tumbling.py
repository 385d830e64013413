"""Which tumbling window does a record belong to, and when does the window close?

A window starts and ends at multiples of its length since the epoch. A record belongs to the window of its arrival time.
A shard has at most one open window. The state in the function's answer is passed to the next invocation:

    no window ──record──> open, state {} ──batch settled──> open, the state returned ──close──> no window
                                                    └──state above 1 MB──> closed early, open again with {}

A window closes with an invocation without records, as soon as one of these happens:

    later record        the next record belongs to a later window; it waits until this window is closed
    shard's end         the shard has no more records
    idle                every record that arrived up to 30 seconds after the window's end has been read and is done

A new window opens only with a record. An answer without state is a failure.

AWS does not document some points. Here:
- A late record, whose window is closed already, counts in the open window, because windows only move forward.
- After an early end, the same window continues with the state `{}`.
- If an answer is partly failed, its state counts together with the records before the first failed one.
- The answer to the last invocation of a window needs no state, because nothing uses it.

Source: AWS Lambda Developer Guide, "Configuring Kinesis Data Streams for stateful processing" (tumbling windows). The
early end was seen on AWS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, Protocol

import orjson

from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.envelope import encode, window_event
from poller.core.outcome import INVALID_RESPONSE
from poller.model.invocation import Answered, Response
from poller.model.outcome import Failed, Outcome, Oversized, Postponed
from poller.model.stream import Window

FIRST_STATE = b"{}"

MAXIMUM_STATE_BYTES = 1_048_576
"""The largest state as JSON: 1 MB for each shard (AWS Lambda Developer Guide). A larger one ends its window early."""

IDLE_DELAY_IN_SECONDS = 30.0
"""The seconds for which a window stays open after its end, to wait for more records. AWS waits up to two minutes."""

Closing = Literal["later record", "shard end", "idle"]


class Arrived(Protocol):
    @property
    def arrived_at(self) -> float: ...


def opened(arrived_at: float, length_in_seconds: int) -> Window:
    """Return a new window, with the first state, for a record with this arrival time in epoch seconds."""
    start = int(arrived_at // length_in_seconds) * length_in_seconds
    return Window(start, start + length_in_seconds, FIRST_STATE)


def within(window: Window, records: Sequence[Arrived]) -> int:
    """Return how many of the first records belong to the window.

    The record after them closes the window.
    """
    return next((index for index, record in enumerate(records) if record.arrived_at >= window.end), len(records))


def closing(
    window: Window, *, next_arrived_at: float | None, caught_up_at: float | None, is_shard_end: bool
) -> Closing | None:
    """Return why the window must close now, or None if it stays open. Call it when all records in the window are done.

    `next_arrived_at` is the arrival time of the next record in hand, or None if there is none.
    Every record that arrived until `caught_up_at` has been read. None means that this time is not known.
    `is_shard_end` is true if the shard has no more records.
    """
    if next_arrived_at is not None:
        return "later record" if next_arrived_at >= window.end else None
    if is_shard_end:
        return "shard end"
    return "idle" if caught_up_at is not None and caught_up_at >= idle_at(window) else None


def idle_at(window: Window) -> float:
    """Return the time at which the window closes if no more records arrive, in epoch seconds."""
    return window.end + IDLE_DELAY_IN_SECONDS


def interpret(outcome: Outcome, response: Response, *, is_final: bool) -> Outcome:
    """Return the outcome of an invocation in a window: Failed if a needed state is missing, otherwise `outcome`."""
    if is_final or isinstance(outcome, Failed | Postponed | Oversized):
        return outcome
    if _state_in(response) is None:
        return Failed(INVALID_RESPONSE, "the response has no state, which a tumbling window needs")
    return outcome


def settled(window: Window, response: Response) -> Window:
    """Return the window with the state from the answer that settled its records."""
    state = _state_in(response)
    assert state is not None, "an answer without state settles nothing"
    return window._replace(state=state)


def must_end_early(window: Window) -> bool:
    """Return whether the state is larger than its limit. Then the last invocation, with this state, is due."""
    return len(window.state) > MAXIMUM_STATE_BYTES


def continued(window: Window) -> Window:
    """Return the window after its last invocation came early: it stays open, and its state is empty again."""
    return window._replace(state=FIRST_STATE)


def room_in_bytes(shard_id: str, arn: str, *, state_bytes: int = MAXIMUM_STATE_BYTES) -> int:
    """Return the bytes for records, and for the commas between them, in an event with a state of this size."""
    window = Window(0, 0, b" " * state_bytes)
    empty = window_event([], shard_id=shard_id, arn=arn, window=window, is_final=False, is_terminated_early=False)
    return MAXIMUM_EVENT_BYTES - len(empty)


def _state_in(response: Response) -> bytes | None:
    """Return the state in the answer as JSON; None if there is no state, or if it is null.

    Numbers keep their digits. As a float, 0.1000000000000000000000000001 would lose its last digits, and 1e999 would
    become null.
    """
    if not isinstance(response, Answered):
        return None
    try:
        body = _parsed(response.payload, number=orjson.Fragment)
        state = body.get("state") if isinstance(body, dict) else None
        return None if state is None else orjson.dumps(state)
    except orjson.JSONEncodeError:  # the state has half of a surrogate pair, or is nested too deeply for orjson
        return _encoded_with_floats(response.payload)
    except (ValueError, RecursionError):
        return None


def _encoded_with_floats(payload: bytes) -> bytes | None:
    """Return the state in the answer as JSON; None if it is nested too deeply, or has an integer that is too long."""
    try:
        return encode(_parsed(payload)["state"])
    except (ValueError, RecursionError):
        return None


def _parsed(payload: bytes, *, number: Callable[[str], object] | None = None) -> Any:
    """Parse an answer with the standard library. `number` makes a value from the text of each number.

    Raises ValueError, and RecursionError if the answer is nested too deeply.
    """
    return json.loads(payload or b"null", parse_float=number, parse_int=number, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
