"""What happens in the calls that invoke a function? They check the request, call the function, and write the answer.

    Invoke                    RequestResponse   200 when the function has answered, also if the function failed
                              Event             202 when the event is stored
                              DryRun            204; the function is not invoked
    InvokeWithResponseStream  as RequestResponse and DryRun of Invoke; the stream has the whole answer in one message
    InvokeAsync               202 when the event is stored, as Event; AWS keeps this call for old clients

The response of the function decides the status:

    Answered               200
    FunctionError          200 with X-Amz-Function-Error: Unhandled
    LostAnswer             the same; not 5xx, because clients then repeat the call, and the function may have run
    Throttled              429
    TooLarge               413
    Unreachable            502; 404 if the function does not exist on AWS Lambda

If this worker has no free unit of the function's concurrency, another worker of the daemon may make the call: it gets
the request with the header PASSED_ON. It answers 503 if it may not begin the call either, and passes it on no further.

Source: AWS Lambda API Reference, "Invoke", "InvokeAsync", "InvokeWithResponseStream"; answers that AWS Lambda gave.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, assert_never

import orjson

from poller import errors
from poller.core.events.attempts import FUNCTION_IS_GONE
from poller.core.events.trace import of_traceparent, usable
from poller.core.json_text import NotJson, parsed
from poller.lambda_api.errors import (
    failed_validation,
    invalid_content,
    invalid_parameter,
    not_found,
    not_ready,
    refused_as_too_large,
    throttled,
    too_large,
    unavailable,
)
from poller.lambda_api.event_stream import CONTENT_TYPE, streamed
from poller.lambda_api.exchange import Answer, Request
from poller.lambda_api.names import NOT_FOUND, Found
from poller.model.arn import qualified
from poller.model.function import Function
from poller.model.ids import FunctionName, RequestId
from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)

MAXIMUM_PAYLOAD_IN_BYTES = 6_291_456
MAXIMUM_EVENT_IN_BYTES = 1_048_576
MAXIMUM_LEGACY_EVENT_IN_BYTES = 262_144
"""The largest payload of InvokeAsync, whose limit AWS never raised. Source: AWS Lambda Developer Guide, "Lambda
quotas"."""

MAXIMUM_CONTEXT_LENGTH = 3583
"""The longest client context, in Base64. Source: AWS Lambda API Reference, "Invoke", ClientContext."""

TOO_LARGE = "EventTooLarge"
"""The code of the error that an event queue raises if an event is too large for it (event_queues/)."""

ERRORS_OF_THE_CLIENT = ("InvalidMessageContents", "NoEventQueue")
"""The codes of the other errors that the client can avoid: it sends other text, or no event. Any other error of an
event queue is a fault of the queue or of the daemon, such as a file that cannot be opened."""

INVOCATION_TYPES = ("Event", "RequestResponse", "DryRun")
LOG_TYPES = ("None", "Tail")

PASSED_ON = "x-poller-passed-on"
"""The header of a request that another worker has refused and passed on."""

HEADERS_OF_A_CALL = ("traceparent", "x-amz-client-context", "x-amz-log-type", "x-amzn-trace-id")
"""The headers of a request that `Invoking` reads when it calls a function."""

AWS_REASON = re.compile("[A-Z][A-Za-z]+Exceeded")
OTHER_REASON = "ConcurrentInvocationLimitExceeded"
"""The reason of a throttle if the function's service gave no reason that AWS uses."""


Elsewhere = Callable[[], Awaitable[Answer | LostAnswer | None]]
"""Lets another worker make a call, as `PassOn` does, or refuses it with an ApiError."""


class Call(Protocol):
    """Calls a function when its concurrency allows the call, and returns the response.

    If the call may not begin in this process, `elsewhere` is called, and its answer is returned unless it is None.
    Raises PollerError if the function cannot be opened, and what `elsewhere` raises.
    """

    async def __call__(
        self, function: Function, invocation: Invocation, elsewhere: Elsewhere, /
    ) -> Response | Answer: ...


class PassOn(Protocol):
    """Lets another worker of this daemon make the call, and returns its answer.

    Returns None if the call has begun nowhere, and LostAnswer if nobody knows whether it has.
    """

    async def __call__(self, function: Function, request: Request, /) -> Answer | LostAnswer | None: ...


async def nowhere(_function: Function, _request: Request, /) -> None:
    """Let no other worker make the call. Implements `PassOn` for a daemon of one process."""


class Accept(Protocol):
    """Stores an event for a function, and returns once the event is durable.

    `trace` and `traceparent` are the client's headers; each is empty if the client did not send it.
    Raises errors.QueueFull if the queue has no room, and another ServiceError if the queue fails or refuses the event.
    """

    async def __call__(
        self,
        function: FunctionName,
        payload: bytes,
        *,
        request_id: RequestId,
        invoked_arn: str | None,
        trace: str,
        traceparent: str,
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoking:
    """The calls that invoke a function."""

    call: Call
    accept: Accept
    pass_on: PassOn = nowhere

    async def invoke(self, found: Found, request: Request) -> Answer:
        kind = _choice(
            request, "x-amz-invocation-type", "invocationType", INVOCATION_TYPES, otherwise="RequestResponse"
        )
        invocation = _invocation(found, request)
        match kind:
            case "Event":
                return await self._accepted(found, request, kind, MAXIMUM_EVENT_IN_BYTES)
            case "DryRun":
                _check_payload(request, kind, MAXIMUM_PAYLOAD_IN_BYTES)
                return Answer(status=204)
            case _:
                _check_payload(request, kind, MAXIMUM_PAYLOAD_IN_BYTES)
                is_passed_on = PASSED_ON in request.headers
                elsewhere = _refuse if is_passed_on else partial(self.pass_on, found.function, request)
                response = await self.call(found.function, invocation, elsewhere)
                if isinstance(response, Answer):
                    return response
                if isinstance(response, Unreachable) and response.reason == FUNCTION_IS_GONE:
                    raise not_found(NOT_FOUND.format(arn=qualified(found.function.arn)))
                return _answer(response, wants_log_tail=invocation.wants_log_tail)

    async def invoke_async(self, found: Found, request: Request) -> Answer:
        return await self._accepted(found, request, "Event", MAXIMUM_LEGACY_EVENT_IN_BYTES)

    async def invoke_with_response_stream(self, found: Found, request: Request) -> Answer:
        answer = await self.invoke(found, request)
        if answer.status != 200:
            return answer
        headers = dict(answer.headers)
        error, log_result = headers.pop("X-Amz-Function-Error", None), headers.pop("X-Amz-Log-Result", None)
        body = streamed(answer.body, error=error, log_result=log_result)
        return replace(answer, body=body, content_type=CONTENT_TYPE, headers=headers)

    async def _accepted(self, found: Found, request: Request, kind: str, limit_in_bytes: int) -> Answer:
        payload = _check_payload(request, kind, limit_in_bytes)
        try:
            await self.accept(
                found.function.name,
                payload,
                request_id=request.request_id,
                invoked_arn=found.invoked_arn,
                trace=usable(request.headers.get("x-amzn-trace-id")),
                traceparent=usable(request.headers.get("traceparent")),
            )
        except errors.QueueFull as error:
            raise throttled("CallerRateLimitExceeded", error.retry_after) from error
        except errors.ServiceError as error:
            if error.code == TOO_LARGE:
                raise refused_as_too_large(str(error)) from error
            if error.code in ERRORS_OF_THE_CLIENT:
                raise invalid_parameter(str(error)) from error
            raise unavailable(f"the event may not be stored: {error}") from error
        return Answer(status=202)


async def _refuse() -> None:
    """Tell the worker that has passed the call on that the call has not begun here."""
    raise unavailable("this worker may not begin the call now")


def _invocation(found: Found, request: Request) -> Invocation:
    traceparent = usable(request.headers.get("traceparent"))
    return Invocation(
        request.request_id,
        request.body or b"{}",
        None,
        1,
        invoked_arn=found.invoked_arn,
        trace=usable(request.headers.get("x-amzn-trace-id")) or of_traceparent(traceparent),
        traceparent=traceparent,
        client_context=_client_context(request.headers.get("x-amz-client-context")),
        wants_log_tail=_choice(request, "x-amz-log-type", "logType", LOG_TYPES, otherwise="None") == "Tail",
    )


def _choice(request: Request, header: str, parameter: str, values: tuple[str, ...], *, otherwise: str) -> str:
    value = request.headers.get(header, otherwise)
    if value not in values:
        allowed = f"Member must satisfy enum value set: [{', '.join(values)}]"
        raise failed_validation([f"Value '{value}' at '{parameter}' failed to satisfy constraint: {allowed}"])
    return value


def _check_payload(request: Request, kind: str, limit_in_bytes: int) -> bytes:
    """Return the payload; `{}` if the request has none. Raises ApiError if it is too large, or is not JSON."""
    payload = request.body or b"{}"
    if len(payload) > limit_in_bytes:
        raise too_large(len(payload), kind, limit_in_bytes)
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        with suppress(NotJson):  # orjson rejects half of a surrogate pair, which JSON allows
            parsed(payload)
            return payload
        prefix = "Could not parse request body into json: Could not parse payload into json"
        raise invalid_content(f"{prefix}: {error}") from error
    return payload


def _client_context(encoded: str | None) -> bytes:
    """Return the client context as one line of ASCII; empty if the request has none."""
    if encoded is None:
        return b""
    if len(encoded) > MAXIMUM_CONTEXT_LENGTH:
        raise invalid_content(f"Client context must have at most {MAXIMUM_CONTEXT_LENGTH} bytes in Base64.")
    try:
        written = base64.b64decode(encoded, validate=True)
        is_object = isinstance(orjson.loads(written), dict)  # it refuses what json accepts: NaN, and deep nesting
        document = json.loads(written)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise invalid_content("Client context must be a valid Base64-encoded JSON object.")
    return json.dumps(document).encode()


def _answer(response: Response, *, wants_log_tail: bool) -> Answer:
    match response:
        case Answered(payload=payload, executed_version=version, log_tail=log_tail):
            headers = _headers(version, log_tail if wants_log_tail else None)
            return Answer(body=payload or b"null", headers=headers)
        case FunctionError(executed_version=version, log_tail=log_tail):
            headers = _headers(version, log_tail if wants_log_tail else None)
            headers["X-Amz-Function-Error"] = "Unhandled"
            return Answer(body=_document(response), headers=headers)
        case LostAnswer(reason=reason):
            message = f"The answer of the function was lost, so nobody knows whether it ran: {reason}"
            lost = FunctionError(error_type="LostAnswer", message=message)
            return _answer(lost, wants_log_tail=False)
        case Throttled(reason=reason, retry_after=retry_after):
            raise throttled(reason if AWS_REASON.fullmatch(reason) else OTHER_REASON, retry_after)
        case TooLarge(message=message):
            raise refused_as_too_large(message)
        case Unreachable(reason=reason, detail=detail):
            raise not_ready(f"The function cannot be reached: {detail or reason}")
    assert_never(response)


def _headers(version: str, log_tail: str | None) -> dict[str, str]:
    headers = {"X-Amz-Executed-Version": version}
    if log_tail is not None:
        headers["X-Amz-Log-Result"] = base64.b64encode(log_tail.encode()).decode()
    return headers


def _document(error: FunctionError) -> bytes:
    """Return the function's error document. If the function did not write JSON, make a document from the error."""
    try:
        orjson.loads(error.payload)
    except orjson.JSONDecodeError:
        return orjson.dumps({"errorType": error.error_type, "errorMessage": error.message})
    return error.payload
