"""Does every answer of the Invoke API become the right response?"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from awslambdaric.lambda_context import LambdaContext  # type: ignore[import-untyped]  # it has no types

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials
from poller.aws.wire import Answer
from poller.model.arn import Arn
from poller.model.function import Function, LambdaApi
from poller.model.ids import FunctionName, MappingName, RequestId
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
from poller.model.stream import ShardId
from poller.targets import lambda_api
from poller.targets.client_context import client_context
from poller.targets.lambda_api import LambdaApiTarget, response_of
from tests.fakes.aws_service import AwsService
from tests.fakes.clock import jump
from tests.fakes.functions import TRACE, bare_call, full_call
from tests.fakes.http_server import Drop, Reply, Request, http_server

pytestmark = pytest.mark.anyio

KEYS = Credentials("AKID", "secret", "token")
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
INVOCATION = Invocation(RequestId("r-1"), b'{"Records":[]}', MappingName("new_users"), 2)
Replying = Callable[[Request], Awaitable[Reply | Drop]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in zip(("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"), KEYS, strict=True):
        monkeypatch.setenv(f"AWS_{name}", value or "")


def function(kind: LambdaApi, timeout_in_seconds: float) -> Function:
    return Function(
        name=FunctionName("bill"),
        arn=Arn.parse(ARN),
        kind=kind,
        timeout_in_seconds=timeout_in_seconds,
        reserved_concurrency=1,
    )


@asynccontextmanager
async def targeting(
    url: str,
    *,
    name: str = "bill",
    qualifier: str | None = None,
    timeout_in_seconds: float = 60,
) -> AsyncIterator[LambdaApiTarget]:
    kind = LambdaApi(name=name, qualifier=qualifier, region="eu-west-1")
    async with Aws(AwsSettings(endpoint_url=url, region="us-east-1")) as aws:
        yield await LambdaApiTarget.of(function(kind, timeout_in_seconds), kind, aws)


async def response_to(reply: Reply | Drop | Replying, invocation: Invocation = INVOCATION) -> Response:
    service = AwsService(reply if callable(reply) else lambda request: asyncio.sleep(0, reply))
    service.knows(KEYS)
    async with http_server(service) as server, targeting(server.url) as target:
        return await target.invoke(invocation)


@pytest.mark.parametrize("name", ["bill", ARN, "123456789012:bill"])
@pytest.mark.parametrize("qualifier", [None, "live", "$LATEST"])
@pytest.mark.slow
async def test_an_invocation_is_the_request_that_aiobotocore_would_send(name: str, qualifier: str | None) -> None:
    service = AwsService(lambda request: asyncio.sleep(0, Reply(body=b"{}")))
    service.knows(KEYS)
    async with http_server(service) as server:
        async with targeting(server.url, name=name, qualifier=qualifier) as target:
            assert await target.invoke(INVOCATION) == Answered(b"{}")
        async with Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws, aws.client("lambda") as c:
            optional = {} if qualifier is None else {"Qualifier": qualifier}
            await c.invoke(FunctionName=name, Payload=INVOCATION.payload, LogType="Tail", **optional)
    ours, theirs = service.accepted
    assert (ours.method, ours.target, ours.body) == (theirs.method, theirs.target, theirs.body)
    assert "/eu-west-1/lambda/aws4_request" in ours.headers["authorization"]
    assert ours.headers["x-amz-log-type"] == theirs.headers["x-amz-log-type"] == "Tail"


async def test_the_client_context_names_the_mapping_the_request_and_the_attempt_as_text() -> None:
    contexts: list[str] = []

    async def note(request: Request) -> Reply:
        contexts.append(request.headers["x-amz-client-context"])
        return Reply()

    await response_to(note)
    await response_to(note, INVOCATION._replace(mapping=MappingName("é\n" * 5000)))
    assert orjson.loads(base64.b64decode(contexts[0])) == {
        "custom": {"mapping": "new_users", "request_id": "r-1", "attempt": "2"}
    }
    assert orjson.loads(base64.b64decode(contexts[1]))["custom"]["mapping"] == "é\n" * 100
    assert len(contexts[1]) <= 3583


def test_a_batch_of_a_stream_also_has_its_shard_and_the_token_of_the_lease_as_text() -> None:
    batch = INVOCATION._replace(shard_id=ShardId("shardId-000000000000"))
    without_lease = {"mapping": "new_users", "shard_id": "shardId-000000000000", "request_id": "r-1", "attempt": "2"}
    assert orjson.loads(client_context(batch)) == {"custom": without_lease}
    under_lease = without_lease | {"fencing_token": "7"}
    assert orjson.loads(client_context(batch._replace(fencing_token=7))) == {"custom": under_lease}


def test_the_longest_client_context_fits_into_the_header_that_lambda_accepts() -> None:
    longest = Invocation(
        RequestId("r" * 36),
        b"",
        MappingName("𝄞" * 1000),
        10_000,
        shard_id=ShardId("s" * 128),
        fencing_token=2**53,
    )
    assert len(base64.b64encode(client_context(longest).encode())) <= 3583


async def test_lambda_is_given_what_a_client_of_the_invoke_api_sent_and_the_log_tail_comes_back() -> None:
    sent: list[Request] = []

    async def note(request: Request) -> Reply:
        sent.append(request)
        return Reply(headers={"X-Amz-Log-Result": base64.b64encode(b"END").decode()}, body=b"{}")

    assert await response_to(note, full_call()) == Answered(b"{}", log_tail="END")
    assert await response_to(note, bare_call()) == Answered(b"{}")
    full, bare = (request.headers for request in sent)
    assert orjson.loads(base64.b64decode(full["x-amz-client-context"])) == {"custom": {"user": "Zoë"}}
    assert full["x-amzn-trace-id"] == TRACE
    assert full["x-amzn-requestid"] == bare["x-amzn-requestid"] == full_call().request_id
    assert not bare.keys() & {"x-amz-client-context", "x-amzn-trace-id"}


def test_the_runtime_shows_our_client_context_to_a_handler_as_its_custom_part() -> None:
    as_sent = orjson.loads(client_context(INVOCATION))
    context = LambdaContext("aws-request-id", as_sent, None, 0)
    assert context.client_context.custom == {"mapping": "new_users", "request_id": "r-1", "attempt": "2"}


async def test_an_answer_is_returned_with_the_version_that_ran() -> None:
    reply = Reply(headers={"X-Amz-Executed-Version": "7"}, body=b'{"batchItemFailures":[]}')
    assert await response_to(reply) == Answered(b'{"batchItemFailures":[]}', "7")
    assert await response_to(Reply()) == Answered(b"")


async def test_a_function_error_carries_its_type_its_message_and_the_end_of_its_log() -> None:
    body = b'{"errorMessage":"no such user","errorType":"KeyError","stackTrace":[]}'
    headers = {
        "X-Amz-Function-Error": "Unhandled",
        "X-Amz-Log-Result": base64.b64encode(b"START\n\xff[ERROR]\n").decode(),
        "X-Amz-Executed-Version": "7",
    }
    assert await response_to(Reply(headers=headers, body=body)) == FunctionError(
        error_type="KeyError",
        message="no such user",
        payload=body,
        log_tail="START\n\N{REPLACEMENT CHARACTER}[ERROR]\n",
        executed_version="7",
    )


async def test_the_long_texts_of_a_function_error_are_shortened() -> None:
    body = orjson.dumps({"errorType": "T" * 200_000, "errorMessage": "m" * 200_000})
    response = await response_to(Reply(headers={"X-Amz-Function-Error": "Unhandled"}, body=body))
    assert isinstance(response, FunctionError)
    assert (len(response.error_type), len(response.message), response.payload) == (128, 4096, body)


@pytest.mark.parametrize("body", [b"", b"Task timed out", b"[]", b'{"errorType":null}'])
async def test_a_function_error_without_a_document_is_still_a_function_error(body: bytes) -> None:
    headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Log-Result": "?abcd?"}
    expected = FunctionError(error_type="Unhandled", message="", payload=body)
    assert await response_to(Reply(headers=headers, body=body)) == expected


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            Reply(
                status=429,
                headers={"Retry-After": "3", "x-amzn-ErrorType": "TooManyRequestsException"},
                body=b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}',
            ),
            Throttled(
                reason="ReservedFunctionConcurrentInvocationLimitExceeded",
                retry_after=3,
                detail=f"{ARN}: ReservedFunctionConcurrentInvocationLimitExceeded: "
                "TooManyRequestsException (429): Rate Exceeded.",
            ),
        ),
        (
            Reply(status=429, body=b'{"Reason":"a reason that never ends, <script>"}'),
            Throttled(reason="Http429", detail=f"{ARN}: Http429: Http429 (429)"),
        ),
        (
            Reply(status=429, body=b'{"Reason":"' + b"R" * 129 + b'"}'),
            Throttled(reason="Http429", detail=f"{ARN}: Http429: Http429 (429)"),
        ),
        (Reply(status=429, body=b"{}"), Throttled(reason="Http429", detail=f"{ARN}: Http429: Http429 (429)")),
        (
            Reply(status=500, headers={"x-amzn-ErrorType": "ServiceException"}),
            Unreachable(reason="ServiceException", detail=f"{ARN}: ServiceException (500)"),
        ),
        (
            Reply(status=502, headers={"x-amzn-ErrorType": "KMSAccessDeniedException:http://internal"}),
            Unreachable(reason="KMSAccessDeniedException", detail=f"{ARN}: KMSAccessDeniedException (502)"),
        ),
        (
            Reply(
                status=404,
                headers={"x-amzn-ErrorType": "ResourceNotFoundException"},
                body=b'{"Type":"User","Message":"Function not found: bill"}',
            ),
            Unreachable(
                reason="ResourceNotFoundException",
                detail=f"{ARN}: ResourceNotFoundException (404): Function not found: bill",
            ),
        ),
        (
            Reply(
                status=403,
                headers={"x-amzn-ErrorType": "AccessDeniedException"},
                body=b'{"Message":"User: me is not authorized to perform: lambda:InvokeFunction"}',
            ),
            Unreachable(
                reason="AccessDeniedException",
                detail=f"{ARN}: AccessDeniedException (403): User: me is not authorized to perform: "
                "lambda:InvokeFunction",
            ),
        ),
        (Reply(status=400, body=b"?"), Unreachable(reason="Http400", detail=f"{ARN}: Http400 (400)")),
        (Reply(status=204), Unreachable(reason="Http204", detail=f"{ARN}: Http204 (204)")),
    ],
)
async def test_an_error_of_lambda_means_that_the_function_did_not_run_and_names_it(
    reply: Reply, expected: Throttled | Unreachable
) -> None:
    assert await response_to(reply) == expected


async def test_an_event_that_is_too_large_is_not_a_failure_of_the_function() -> None:
    words = b'{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction operation"}'
    reply = Reply(status=413, headers={"x-amzn-ErrorType": "RequestTooLargeException"}, body=words)
    assert await response_to(reply) == TooLarge(
        error_type="RequestEntityTooLarge",
        message="RequestTooLargeException (413): "
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )


async def test_a_connection_lost_after_sending_is_a_lost_answer() -> None:
    assert await response_to(Drop()) == LostAnswer(reason="ServerDisconnectedError")


async def test_a_function_that_cannot_be_reached_did_not_run() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with targeting(f"http://127.0.0.1:{port}") as target:
            response = await target.invoke(INVOCATION)
    assert isinstance(response, Unreachable)
    assert response.reason == "ClientConnectorError"
    assert response.detail.startswith(f"{ARN}: cannot connect to 127.0.0.1:{port}: ")


async def test_missing_credentials_mean_that_the_function_did_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    response = await response_to(Reply())
    assert isinstance(response, Unreachable)
    assert response.reason == "NoCredentialsError"
    assert response.detail.startswith(f"{ARN}: ")


async def test_an_answer_may_arrive_a_little_after_the_timeout_of_the_function() -> None:
    async def late(_: Request) -> Reply:
        jump(30 + 5)
        return Reply(body=b"1")

    service = AwsService(late)
    service.knows(KEYS)
    async with http_server(service) as server, targeting(server.url, timeout_in_seconds=30) as target:
        assert await target.invoke(INVOCATION) == Answered(b"1")


async def test_an_answer_long_after_the_timeout_of_the_function_is_lost() -> None:
    async def never(_: Request) -> Reply:
        jump(30 + lambda_api.ANSWER_SLACK_IN_SECONDS)
        await anyio.sleep_forever()
        raise AssertionError

    service = AwsService(never)
    service.knows(KEYS)
    async with http_server(service) as server, targeting(server.url, timeout_in_seconds=30) as target:
        response = await target.invoke(INVOCATION)
    assert isinstance(response, LostAnswer)
    assert len(service.accepted) == 1


async def test_an_event_and_an_answer_may_have_six_megabytes() -> None:
    payload = b'"' + b"x" * 6_291_554 + b'"'
    response = await response_to(
        lambda request: asyncio.sleep(0, Reply(body=request.body)), INVOCATION._replace(payload=payload)
    )
    assert response == Answered(payload)


@pytest.mark.parametrize("odd", [b"[" * 1000 + b"]" * 1000, b"5", b"null", b"{}"])
async def test_a_value_of_an_answer_that_is_not_a_text_is_left_out(odd: bytes) -> None:
    failed = Answer(200, {"x-amz-function-error": "Unhandled"}, b'{"errorType":%b,"errorMessage":%b}' % (odd, odd))
    response = response_of(failed, Arn.parse(ARN), wants_log_tail=False)
    assert isinstance(response, FunctionError)
    assert (response.error_type, response.message) == ("Unhandled", "")
    throttled = Answer(429, {"x-amzn-errortype": "TooManyRequestsException"}, b'{"Reason":%b}' % odd)
    response = response_of(throttled, Arn.parse(ARN), wants_log_tail=False)
    assert isinstance(response, Throttled)
    assert response.reason == "TooManyRequestsException"


@pytest.mark.parametrize("log", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "no base64!", "a"])
async def test_a_log_that_cannot_be_read_is_left_out(log: str) -> None:
    headers = {"x-amz-function-error": "Unhandled", "x-amz-log-result": log}
    response = response_of(Answer(200, headers, b"{}"), Arn.parse(ARN), wants_log_tail=False)
    assert isinstance(response, FunctionError)
    assert response.log_tail == ""
