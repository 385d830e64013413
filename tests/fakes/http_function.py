"""How is a function in memory reached over HTTP? As a service that gets the event as the body of a POST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

from poller.model.ids import MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Throttled, TooLarge, Unreachable
from poller.ports import Target
from tests.fakes.http_server import Drop, Reply, Request


def http_function(function: Target) -> Callable[[Request], Awaitable[Reply | Drop]]:
    """Return a handler for `tests.fakes.http_server.http_server`."""

    async def answer(request: Request) -> Reply | Drop:
        headers = request.headers
        response = await function.invoke(
            Invocation(
                RequestId(headers["x-amzn-requestid"]),
                request.body,
                MappingName(headers["x-poller-mapping"]),
                int(headers["x-poller-attempt"]),
            )
        )
        match response:
            case Answered(payload=payload):
                return Reply(body=payload)
            case FunctionError(payload=payload):
                return Reply(status=500, body=payload)
            case Unreachable():
                return Reply(status=407)  # as the proxy of a function answers
            case Throttled(retry_after=retry_after):
                return Reply(status=503, headers={} if retry_after is None else {"Retry-After": f"{retry_after:g}"})
            case TooLarge():
                return Reply(status=413)
            case LostAnswer():
                return Drop()
        assert_never(response)

    return answer
