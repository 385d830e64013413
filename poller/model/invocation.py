"""What is an invocation, and what can come back? One call of a function with a batch; six kinds of response.

The rest of the program tells only these six apart, for every kind of function:

    Answered        the function ran and returned something
    FunctionError   the function ran, or began to, and failed: exception, timeout, exit
    Throttled       the function is there and has no room: the call was refused before it ran, so it is tried again
    Unreachable     the call did not reach the function: it is tried again, too
    TooLarge        the call was refused before the function ran, for the size of its event: try with fewer records
    LostAnswer      nobody knows whether the function ran; it counts as a failed attempt

`errors.py` has exceptions that are called Throttled and Unreachable, too: a service other than a function refused.
A module that needs both writes `errors.Throttled` for the exception.

Source: AWS Lambda Developer Guide, "Understanding retry behavior in Lambda", and the Invoke API reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from poller.model.ids import MappingName, RequestId


class Invocation(NamedTuple):
    """One call. `payload` is the encoded event; `attempt` counts from 1 for each batch."""

    request_id: RequestId
    payload: bytes
    mapping: MappingName
    attempt: int


@dataclass(frozen=True, slots=True)
class Answered:
    """`payload` is the function's result as JSON bytes; empty means that there was no body."""

    payload: bytes
    executed_version: str = "$LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionError:
    """`error_type` and `message` come from the function's error document; neither is ever a record's content by intent.

    `payload` is that document itself. `log_tail` is the end of the function's own log, where it can be had.
    `is_init_failure` says that the function is known to have failed before it asked for its first event.
    """

    error_type: str
    message: str
    payload: bytes = b""
    log_tail: str = ""
    executed_version: str = "$LATEST"
    is_init_failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """Refused before the function ran, because it runs as often as it may (429, 503).

    `reason` is short and bounded; `detail` is for a person: it names the refusing side, and quotes its message if any.
    `retry_after` is the pause that the answer asks for, in seconds.
    """

    reason: str
    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """The function did not run: no connection, no valid credentials, no process, or a fault of the service (5xx).

    `reason` and `detail` are as in Throttled.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """Refused before the function ran: the event has more bytes than the service takes (413).

    `error_type` and `message` are as in a FunctionError.
    """

    error_type: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswer:
    """The request went out and no answer came back."""

    reason: str


Response = Answered | FunctionError | Throttled | Unreachable | TooLarge | LostAnswer
