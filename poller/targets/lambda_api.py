"""How is a function invoked on AWS Lambda? Synchronously, through the Invoke API.

    answer                                         response
    200                                            Answered
    200 with X-Amz-Function-Error                  FunctionError, with the last 4 KB of the function's log
    413                                            TooLarge
    429                                            Throttled; the body says which limit was met
    5xx, other 4xx, no connection, no credentials  Unreachable: the function did not run; it is tried again slowly
    connection lost or time up after sending       LostAnswer

An error is shown in Lambda's words, with the function's ARN.
The client context tells the function which mapping invokes it (`client_context.py`).

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
from poller.targets.failures import ERROR_TYPE_LIMIT_IN_CHARACTERS, MESSAGE_LIMIT_IN_CHARACTERS, json_object, text_or

ANSWER_SLACK_IN_SECONDS = 15.0
"""How much longer than its timeout a function's answer may take: a cold start's first ten seconds do not count."""


class LambdaApiTarget:
    """One function on AWS Lambda, as `ports.Target`."""

    def __init__(self, invoker: Invoker, arn: Arn) -> None:
        self._invoker = invoker
        self._arn = arn

    @classmethod
    async def of(cls, function: Function, kind: LambdaApi, aws: Aws) -> LambdaApiTarget:
        """The target for a function of the settings. Needs neither credentials nor network."""
        invoker = await aws.invoker(
            kind.name,
            qualifier=kind.qualifier,
            timeout_in_seconds=function.timeout_in_seconds + ANSWER_SLACK_IN_SECONDS,
            region=kind.region,
            role_arn=kind.role_arn,
        )
        return cls(invoker, function.arn)

    async def invoke(self, invocation: Invocation) -> Response:
        """Call the function once; never raises for what the function or the way to it does."""
        headers = {
            "content-type": "application/json",
            "x-amz-client-context": base64.b64encode(client_context(invocation).encode()).decode(),
            "x-amz-log-type": "Tail",
        }
        try:
            answer = await self._invoker.invoke(invocation.payload, headers)
        except errors.Unreachable as error:
            if error.was_sent:
                return LostAnswer(reason=error.code)
            return self._not_taken(error)
        except ServiceError as error:
            return self._not_taken(error)
        return response_of(answer, self._arn)

    def _not_taken(self, error: ServiceError) -> Unreachable:
        return Unreachable(reason=error.code, detail=f"{self._arn}: {error}")


def response_of(answer: Answer, arn: Arn) -> Response:
    """What Lambda's answer means for the function with this ARN."""
    if answer.status == 200:
        version = answer.headers.get("x-amz-executed-version", "$LATEST")
        if "x-amz-function-error" in answer.headers:
            return function_error(answer, version)
        return Answered(answer.body, version)
    if answer.status == 413:
        return TooLarge(error_type="RequestEntityTooLarge", message=str(answer.error()))
    return refused(answer, arn)


def function_error(answer: Answer, version: str) -> FunctionError:
    """The function's own failure, told by the document that its runtime made of it."""
    document = json_object(answer.body)
    error_type = text_or(document.get("errorType"), answer.headers["x-amz-function-error"])
    return FunctionError(
        error_type=error_type[:ERROR_TYPE_LIMIT_IN_CHARACTERS],
        message=text_or(document.get("errorMessage"), "")[:MESSAGE_LIMIT_IN_CHARACTERS],
        payload=answer.body,
        log_tail=log_tail(answer.headers.get("x-amz-log-result", "")),
        executed_version=version,
    )


def refused(answer: Answer, arn: Arn) -> Throttled | Unreachable:
    """Lambda did not run the function. A throttle's `Reason` names the limit that was met."""
    error = answer.error()
    if not isinstance(error, errors.Throttled):
        return Unreachable(reason=error.code, detail=f"{arn}: {error}")
    reason = bare_code(text_or(json_object(answer.body).get("Reason"), "")) or error.code
    return Throttled(reason=reason, retry_after=error.retry_after, detail=f"{arn}: {reason}: {error}")


def log_tail(encoded: str) -> str:
    """The end of the function's log, as text whatever its bytes."""
    try:
        return base64.b64decode(encoded, validate=True).decode(errors="replace")
    except ValueError:
        return ""
