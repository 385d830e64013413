"""How is a function invoked on AWS Lambda? Synchronously, by a request to Lambda's Invoke API.

    answer                                         response
    200                                            Answered
    200 with X-Amz-Function-Error                  FunctionError, with the last 4 KB of the function's log
    413                                            TooLarge
    429, or a throttling code                      Throttled; the body says which limit was reached
    5xx, other 4xx, no connection, no credentials  Unreachable: the function did not run
    no answer after the request was sent           LostAnswer

The text of an error is Lambda's own, with the function's ARN before it.
The client context tells the function which mapping invokes it (`client_context.py`).
If the invocation is an asynchronous event or a client's call of the daemon, the request to Lambda has three more
values: the client context of that client, the request id in X-Amzn-RequestId, and the trace in X-Amzn-Trace-Id. Lambda
itself uses another request id.

Sources: AWS Lambda API Reference, "Invoke"; AWS Lambda Developer Guide, "Understanding retry behavior in Lambda".
"""

from __future__ import annotations

import base64

from poller import errors
from poller.aws.clients import Aws
from poller.aws.errors import bare_code
from poller.aws.invoker import Invoker
from poller.aws.wire import Answer
from poller.errors import ServiceError
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
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
from poller.targets.client_context import client_context
from poller.targets.failures import (
    ERROR_TYPE_LIMIT_IN_CHARACTERS,
    MESSAGE_LIMIT_IN_CHARACTERS,
    json_object,
    log_tail_of,
    text_or,
)

ANSWER_SLACK_IN_SECONDS = 15.0
"""How much longer than the function's timeout to wait for the answer.

The timeout excludes the first 10 s of a cold start.
"""


class LambdaApiTarget:
    """One function on AWS Lambda. Implements `ports.Target`."""

    def __init__(self, invoker: Invoker, arn: Arn) -> None:
        self._invoker = invoker
        self._arn = arn

    @classmethod
    async def of(cls, function: Function, kind: LambdaApi, aws: Aws) -> LambdaApiTarget:
        """Return the target of a function in the settings. Uses neither credentials nor the network."""
        invoker = await aws.invoker(
            kind.name,
            qualifier=kind.qualifier,
            timeout_in_seconds=function.timeout_in_seconds + ANSWER_SLACK_IN_SECONDS,
            region=kind.region,
        )
        return cls(invoker, function.arn)

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once. Every failure of the call or of the function is a Response, not an exception."""
        try:
            answer = await self._invoker.invoke(invocation.payload, _headers(invocation))
        except errors.Unreachable as error:
            if error.was_sent:
                return LostAnswer(reason=error.code)
            return self._not_taken(error)
        except ServiceError as error:
            return self._not_taken(error)
        return response_of(answer, self._arn, wants_log_tail=invocation.wants_log_tail)

    def _not_taken(self, error: ServiceError) -> Unreachable:
        return Unreachable(reason=error.code, detail=f"{self._arn}: {error}")


def _headers(invocation: Invocation) -> dict[str, str]:
    """Return the request's headers that differ from one invocation to the next. They ask for the log tail."""
    headers = {"content-type": "application/json", "x-amz-log-type": "Tail"}
    if context := client_context(invocation):
        headers["x-amz-client-context"] = base64.b64encode(context.encode()).decode()
    if invocation.mapping is None:
        headers["x-amzn-requestid"] = invocation.request_id
        if invocation.trace:
            headers["x-amzn-trace-id"] = invocation.trace
    return headers


def response_of(answer: Answer, arn: Arn, *, wants_log_tail: bool) -> Response:
    """Return the response that Lambda's answer means. `arn` is the ARN of the function."""
    if answer.status == 200:
        version = answer.headers.get("x-amz-executed-version", "$LATEST")
        if "x-amz-function-error" in answer.headers:
            return function_error(answer, version)
        return Answered(answer.body, version, log_tail_of(answer.headers) if wants_log_tail else "")
    if answer.status == 413:
        return TooLarge(error_type="RequestEntityTooLarge", message=str(answer.error()))
    return refused(answer, arn)


def function_error(answer: Answer, version: str) -> FunctionError:
    """Return the failure of the function, with the type and message of its error document."""
    document = json_object(answer.body)
    error_type = text_or(document.get("errorType"), answer.headers["x-amz-function-error"])
    return FunctionError(
        error_type=error_type[:ERROR_TYPE_LIMIT_IN_CHARACTERS],
        message=text_or(document.get("errorMessage"), "")[:MESSAGE_LIMIT_IN_CHARACTERS],
        payload=answer.body,
        log_tail=log_tail_of(answer.headers),
        executed_version=version,
    )


def refused(answer: Answer, arn: Arn) -> Throttled | Unreachable:
    """Return why Lambda did not run the function. The body of a throttle has the reached limit in `Reason`."""
    error = answer.error()
    if not isinstance(error, errors.Throttled):
        return Unreachable(reason=error.code, detail=f"{arn}: {error}")
    reason = bare_code(text_or(json_object(answer.body).get("Reason"), "")) or error.code
    return Throttled(reason=reason, retry_after=error.retry_after, detail=f"{arn}: {reason}: {error}")
