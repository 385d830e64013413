"""What is an invocation, and which responses can it have?

An invocation is one call of a function with a batch.
Every kind of function (Lambda, HTTP, child process) has the same six kinds of response:

    Answered        the function ran and returned something
    FunctionError   the function ran, or began to run, and failed: exception, timeout, exit
    Throttled       the function runs too many invocations already, so it did not run; the call is tried again
    Unreachable     the call did not reach the function; it is tried again
    TooLarge        the call was refused before the function ran, because the event is too large; a batch of
                    several records is tried again in halves
    LostAnswer      nobody knows whether the function ran; it counts as a failed attempt

`errors.py` has exceptions with the names Throttled and Unreachable, too, for services other than functions.
A module that needs both writes `errors.Throttled` for the exception.

Source: AWS Lambda Developer Guide, "Understanding retry behavior in Lambda", and the Invoke API reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from poller.model.ids import MappingName, RequestId
from poller.model.stream import ShardId


class Invocation(NamedTuple):
    """One call of a function. `payload` is the event as JSON; `attempt` counts the calls with this event from 1.

    `mapping` is None for asynchronous events and for calls of the Invoke API.
    `invoked_arn` is the function's ARN as the client wrote it; None means the function's own ARN.
    `trace` and `traceparent` are the headers X-Amzn-Trace-Id and traceparent; they are empty if there are none.
    `client_context` is the client context of the call as JSON in one line of ASCII; it is empty if there is none.
    `wants_log_tail` asks for the end of the function's log, also after a success.
    `shard_id` is the shard of the records, and `fencing_token` the token of its lease (core/leases/, R3). They are None
    for a queue, an event or a call.
    """

    request_id: RequestId
    payload: bytes
    mapping: MappingName | None
    attempt: int
    invoked_arn: str | None = None
    trace: str = ""
    traceparent: str = ""
    client_context: bytes = b""
    wants_log_tail: bool = False
    shard_id: ShardId | None = None
    fencing_token: int | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The function ran. `payload` is its result as JSON, or empty if the answer had no body.

    `log_tail` is the end of the function's log, or empty if the invocation did not ask for it.
    `is_whole` is false if the payload is empty and may be lost, because only the end of the connection ended the
    answer.
    """

    payload: bytes
    executed_version: str = "$LATEST"
    log_tail: str = ""
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionError:
    """The function failed. `error_type` and `message` come from its error document; `payload` is this document.

    `log_tail` is the end of the function's log; it is empty if the log is not available.
    `is_init_failure` is true if the function certainly failed before it asked for its first event.
    """

    error_type: str
    message: str
    payload: bytes = b""
    log_tail: str = ""
    executed_version: str = "$LATEST"
    is_init_failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The call was refused before the function ran, because too many invocations run already (429, 503).

    `reason` is a short text from a small set. `detail` is for a person. It says who refused the call, and with which
    message.
    `retry_after` is the pause in seconds that the answer asks for, or None.
    """

    reason: str
    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """The function did not run: no connection, no valid credentials, no process, or an error of the service (5xx).

    `reason` and `detail` have the same form as in Throttled.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """The call was refused before the function ran: the event has more bytes than the service accepts (413).

    `error_type` and `message` have the same form as in a FunctionError.
    """

    error_type: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAnswer:
    """The request was sent, and no answer came, so nobody knows whether the function ran."""

    reason: str


Response = Answered | FunctionError | Throttled | Unreachable | TooLarge | LostAnswer
