"""AWS over HTTP: the SQS in memory and functions in memory, behind a front door that checks every signature.

    a daemon ──HTTP──> AwsService (signature, keys, time) ─┬─ x-amz-target: AmazonSQS.* ──> FakeSqs ──> FakeQueue
                                                           └─ /…/functions/<arn>/…      ──> a function in memory

All of it lives in the test's own process and event loop, so that a test waits for entries of a queue's history, and
asks the whole history afterwards. What the fakes raise or answer leaves as the services would write it.
A client that hangs up cancels its long poll; a function goes on to its planned end, as its `Call` says.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, assert_never
from urllib.parse import unquote

import orjson

from poller.aws.signing import Keys
from poller.errors import AccessDenied, NotFound, Rejected, ServiceError, Throttled, Unreachable
from poller.model.ids import MappingName, RequestId
from poller.model.invocation import Answered, Busy, FunctionError, Invocation, LostAnswer, Response
from poller.ports import Target
from tests.fakes.aws_service import AwsService, error
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server
from tests.fakes.queue import FakeQueue
from tests.fakes.sqs import FakeSqs
from tests.fakes.watch import History, Watch

LONGEST_CALL_IN_SECONDS = 60.0
"""No call is cut by the service: longer than the longest poll."""


class AwsOverHttp:
    """`functions` are the Lambda functions by ARN; `forbidden` the queues by name that nobody may touch.

    `polls_waiting` counts the receives in the house, and `door` knows the keys.
    """

    def __init__(self, watch: Watch) -> None:
        self.door = AwsService(self._reply)
        self.functions: dict[str, Target] = {}
        self.forbidden: set[str] = set()
        self.polls_waiting = 0
        self._watch = watch

    def listen_at(self, server: HttpServer) -> None:
        """Queues are known by their urls, so this comes first."""
        self.server = server
        self.sqs = FakeSqs(endpoint_url=server.url)

    @property
    def url(self) -> str:
        return self.server.url

    def create_queue(self, name: str, **settings: Any) -> FakeQueue:
        """`settings` are FakeQueue's fields; the history rings."""
        return self.sqs.create_queue(name, history=History(self._watch), **settings)

    async def _reply(self, request: Request) -> Reply | Drop:
        self._watch.ring()
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        if service == "AmazonSQS":
            return await self._call_sqs(operation, request.body)
        return await self._invoke(request)

    async def _call_sqs(self, operation: str, body: bytes) -> Reply | Drop:
        is_poll = operation == "ReceiveMessage"
        self.polls_waiting += is_poll
        try:
            if self._is_forbidden(body):
                raise AccessDenied("Access to the resource is denied.", code="AccessDeniedException")
            answer = await self.sqs.call(operation, body, timeout_in_seconds=LONGEST_CALL_IN_SECONDS)
        except ServiceError as refusal:
            return refused(refusal)
        finally:
            self.polls_waiting -= is_poll
        return Reply(headers={"Content-Type": "application/x-amz-json-1.0"}, body=orjson.dumps(answer))

    def _is_forbidden(self, body: bytes) -> bool:
        return bool(self.forbidden) and orjson.loads(body)["QueueUrl"].rpartition("/")[2] in self.forbidden

    async def _invoke(self, request: Request) -> Reply | Drop:
        """Lambda's Invoke; the client context tells whose batch it is."""
        function = self.functions.get(unquote(request.target.split("/")[3]))
        if function is None:
            return error(404, "ResourceNotFoundException", "Function not found")
        context = orjson.loads(base64.b64decode(request.headers["x-amz-client-context"]))["custom"]
        invocation = Invocation(
            RequestId(context["request_id"]), request.body, MappingName(context["mapping"]), int(context["attempt"])
        )
        self._watch.ring()
        response = await function.invoke(invocation)
        self._watch.ring()
        return invoked(response)


@asynccontextmanager
async def aws_over_http(watch: Watch, *keys: Keys) -> AsyncIterator[AwsOverHttp]:
    """AWS on a free loopback port, open to these keys."""
    aws = AwsOverHttp(watch)
    aws.door.knows(*keys)
    async with http_server(aws.door) as server:
        aws.listen_at(server)
        yield aws


def refused(refusal: ServiceError) -> Reply | Drop:
    """An error of the fakes as SQS would write it."""
    match refusal:
        case Unreachable():
            return Drop()
        case AccessDenied():
            return error(403, refusal.code, str(refusal))
        case NotFound() | Throttled() | Rejected():
            return error(400, refusal.code, str(refusal))
    raise AssertionError(refusal)


def invoked(response: Response) -> Reply | Drop:
    """A function's response as Lambda's Invoke would write it."""
    match response:
        case Answered(payload=payload):
            return Reply(headers={"X-Amz-Executed-Version": "$LATEST"}, body=payload)
        case FunctionError(error_type=error_type, message=message, payload=payload, log_tail=log_tail):
            headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Log-Result": _base64(log_tail)}
            body = payload or orjson.dumps({"errorType": error_type, "errorMessage": message})
            return Reply(headers=headers, body=body)
        case Busy(retry_after=retry_after):
            headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
            return Reply(status=429, headers={"X-Amzn-ErrorType": "TooManyRequestsException", **headers})
        case LostAnswer():
            return Drop()
    assert_never(response)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
