"""AWS over HTTP: services in memory and functions in memory, behind a server that checks every signature.

    a daemon ──HTTP──> AwsService (signature, keys, time) ─┬─ x-amz-target: AmazonSQS.* ──> FakeSqs ──> FakeQueue
                                                           ├─ …: Kinesis_*, DynamoDBStreams_* ──> their fakes
                                                           ├─ Action=… in a form        ──> STS, topics (reports.py)
                                                           ├─ PUT                       ──> buckets (reports.py)
                                                           └─ /…/functions/<arn>/…      ──> a function in memory

Everything runs in the process and event loop of the test. So a test can wait for entries in the history of a queue or a
stream, and check the whole history afterwards. The answers and errors of the fakes have the form of the services' own.
If a client disconnects, its long poll ends, but a function runs to its planned end.
"""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, assert_never
from urllib.parse import parse_qs, unquote

import anyio
import orjson

from poller import errors
from poller.aws.signing import Credentials
from poller.errors import (
    AccessDenied,
    ExpiredIterator,
    NotFound,
    Rejected,
    ServiceError,
    Trimmed,
)
from poller.model.ids import MappingName, RequestId
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
from poller.ports import Target
from tests.fakes.aws_service import AwsService, error
from tests.fakes.dynamodb_streams import FakeDynamoDbStreams, FakeTable
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.queue import FakeQueue
from tests.fakes.reports import FakeReports, query_answer, query_error
from tests.fakes.sqs import FakeSqs
from tests.fakes.stream import FakeStream
from tests.fakes.stream_service import ACCOUNT, FakeStreamService
from tests.fakes.watch import History, StreamHistory, Watch

LONGEST_CALL_IN_SECONDS = 60.0
"""How long a call may take. It is longer than the longest poll, so the service never cancels a call."""


IDENTITY_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/session"
"""The identity that STS returns."""


class AwsOverHttp:
    """The services and their state.

    `functions` are the Lambda functions by ARN. Access is denied to the queues and streams whose names are `forbidden`.
    `roles` has the execution roles that GetFunctionConfiguration returns; for other functions it is denied.

    `polls_waiting` counts the receives that wait, and `signatures` has the valid keys. `clients` has the access key of
    each invocation, by the request id. Reads of streams have no rate limit, so that no test has to wait.
    """

    def __init__(self, watch: Watch) -> None:
        self.signatures = AwsService(self._reply)
        self.functions: dict[str, Target] = {}
        self.roles: dict[str, str] = {}
        self.roles_asked_for: list[str] = []
        self.forbidden: set[str] = set()
        self.polls_waiting = 0
        self.clients: dict[RequestId, str] = {}
        self.reports = FakeReports()
        epoch = time.time() - anyio.current_time()
        self.kinesis = FakeKinesis(has_limits=False, epoch=epoch)
        self.tables = FakeDynamoDbStreams(epoch=epoch)
        self._streams: dict[str, FakeStreamService] = {
            "Kinesis_20131202": self.kinesis,
            "DynamoDBStreams_20120810": self.tables,
        }
        self._watch = watch

    def listen_at(self, server: HttpServer) -> None:
        """Set the address of the services. Call this first, because the urls of queues contain the address."""
        self.server = server
        self.sqs = FakeSqs(endpoint_url=server.url)

    @property
    def url(self) -> str:
        return self.server.url

    def create_queue(self, name: str, **settings: Any) -> FakeQueue:
        """Create a queue whose history notifies the watch. `settings` are fields of FakeQueue."""
        return self.sqs.create_queue(name, history=History(self._watch), **settings)

    def create_stream(self, name: str, **settings: Any) -> FakeStream:
        """Create a Kinesis stream whose history notifies the watch. `settings` are fields of FakeStream."""
        return self._rings(self.kinesis.create_stream(name, **settings))

    def create_table(self, name: str, **settings: Any) -> FakeTable:
        """Create a table. The history of its stream notifies the watch.

        `settings` are for `FakeDynamoDbStreams.create_table`.
        """
        table = self.tables.create_table(name, **settings)
        self._rings(table.stream)
        return table

    def _rings(self, stream: FakeStream) -> FakeStream:
        stream.history = StreamHistory(self._watch, stream.history)
        return stream

    async def _reply(self, request: Request) -> Reply | Drop:
        self._watch.ring()
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        if service == "AmazonSQS":
            return await self._call_sqs(operation, request.body)
        if service in self._streams:
            return await self._call_stream(self._streams[service], operation, request.body)
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return self._call_in_a_form(request.body)
        if request.method == "PUT":
            return self.reports.put_object(request)
        return await self._invoke(request)

    async def _call_stream(self, service: FakeStreamService, operation: str, body: bytes) -> Reply | Drop:
        try:
            if any(name.encode() in body for name in self.forbidden):
                raise AccessDenied("Access to the resource is denied.", code="AccessDeniedException")
            answer = await service.call(operation, body, timeout_in_seconds=LONGEST_CALL_IN_SECONDS)
        except ServiceError as raised:
            return refused(raised)
        return Reply(headers={"Content-Type": "application/x-amz-json-1.1"}, body=orjson.dumps(answer))

    def _call_in_a_form(self, body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        match form["Action"]:
            case "Publish":
                return self.reports.publish(form["TopicArn"], form["Message"])
            case "GetCallerIdentity":
                return query_answer("GetCallerIdentity", f"<Arn>{IDENTITY_ARN}</Arn>")
        return query_error(400, "InvalidAction", form["Action"])

    async def _call_sqs(self, operation: str, body: bytes) -> Reply | Drop:
        is_poll = operation == "ReceiveMessage"
        self.polls_waiting += is_poll
        try:
            if self._is_forbidden(body):
                raise AccessDenied("Access to the resource is denied.", code="AccessDeniedException")
            answer = await self.sqs.call(operation, body, timeout_in_seconds=LONGEST_CALL_IN_SECONDS)
        except ServiceError as raised:
            return refused(raised)
        finally:
            self.polls_waiting -= is_poll
        return Reply(headers={"Content-Type": "application/x-amz-json-1.0"}, body=orjson.dumps(answer))

    def _is_forbidden(self, body: bytes) -> bool:
        return bool(self.forbidden) and orjson.loads(body)["QueueUrl"].rpartition("/")[2] in self.forbidden

    async def _invoke(self, request: Request) -> Reply | Drop:
        """Answer GetFunctionConfiguration, and Invoke, whose client context names the mapping of the batch."""
        name = unquote(request.target.split("/")[3])
        if request.method == "GET":
            self.roles_asked_for.append(name)
            if name not in self.roles:
                return error(403, "AccessDeniedException", "not authorized to perform: lambda:GetFunctionConfiguration")
            return Reply(body=orjson.dumps({"Role": self.roles[name]}))
        function = self.functions.get(name)
        if function is None:
            return error(404, "ResourceNotFoundException", "Function not found")
        if request.headers.get("x-amz-invocation-type") == "DryRun":
            return Reply(status=204)
        context = orjson.loads(base64.b64decode(request.headers["x-amz-client-context"]))["custom"]
        invocation = Invocation(
            RequestId(context["request_id"]),
            request.body,
            MappingName(context["mapping"]),
            int(context["attempt"]),
            fencing_token=int(context["fencing_token"]) if "fencing_token" in context else None,
        )
        self.clients[invocation.request_id] = request.headers["authorization"].partition("=")[2].partition("/")[0]
        self._watch.ring()
        response = await function.invoke(invocation)
        self._watch.ring()
        return invoked(response)


@asynccontextmanager
async def aws_over_http(watch: Watch, *keys: Credentials) -> AsyncIterator[AwsOverHttp]:
    """Serve AWS on a free loopback port."""
    aws = AwsOverHttp(watch)
    aws.signatures.knows(*keys)
    async with http_server(aws.signatures) as server:
        aws.listen_at(server)
        yield aws


def refused(raised: ServiceError) -> Reply | Drop:
    """Return an error of the fakes as a service with a JSON protocol writes it."""
    match raised:
        case errors.Unreachable():
            return Drop()
        case AccessDenied():
            return error(403, raised.code, str(raised))
        case NotFound() | errors.Throttled() | Rejected() | ExpiredIterator() | Trimmed():
            return error(400, raised.code, str(raised))
    raise AssertionError(raised)


def invoked(response: Response) -> Reply | Drop:
    """Return a function's response as Lambda's Invoke writes it."""
    match response:
        case Answered(payload=payload):
            return Reply(headers={"X-Amz-Executed-Version": "$LATEST"}, body=payload)
        case FunctionError(error_type=error_type, message=message, payload=payload, log_tail=log_tail):
            headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Log-Result": _base64(log_tail)}
            body = payload or orjson.dumps({"errorType": error_type, "errorMessage": message})
            return Reply(headers=headers, body=body)
        case Unreachable(reason=reason):
            return error(500, "ServiceException", reason)
        case Throttled(retry_after=retry_after):
            headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
            return Reply(status=429, headers={"X-Amzn-ErrorType": "TooManyRequestsException", **headers})
        case TooLarge(message=message):
            return error(413, "RequestTooLargeException", message)
        case LostAnswer():
            return Drop()
    assert_never(response)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
