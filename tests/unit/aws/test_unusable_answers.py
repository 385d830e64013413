"""What happens to an answer that is too large or unreadable: directly, through a proxy, and in the general client?"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.config import AioConfig

from poller import errors
from poller.aws import clients
from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.http.http1 import LARGEST_ANSWER_IN_BYTES, AnswerTooLarge
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 -\r\n\r\n"
HEAD_IN_BYTES = 200
"""More bytes than the head of an answer in these tests. The head counts for an answer without a proxy."""


async def narrow(aws: Aws) -> Any:
    return await (await aws.json_client("sqs")).call("ReceiveMessage", b"{}", timeout_in_seconds=20)


async def wide(aws: Aws) -> Any:
    async with KeptClient(lambda: aws.client("sqs")) as client:
        return await client.call("receive_message", timeout_in_seconds=20, QueueUrl="http://queue")


@pytest.fixture(params=["direct", "proxy"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def answering(
    answer: Reply | Drop, way: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Aws, HttpServer]]:
    async def handle(_: Request) -> Reply | Drop:
        return answer

    async with http_server(handle) as server:
        url = server.url
        if way == "proxy":
            monkeypatch.setenv("http_proxy", url)
            url = "http://sqs.invalid"
        async with Aws(AwsSettings(endpoint_url=url, region="eu-west-1")) as aws:
            yield aws, server


@pytest.mark.parametrize("call", [narrow, wide])
@pytest.mark.slow
async def test_an_answer_is_read_up_to_its_limit_and_no_further(
    call: Callable[[Aws], Awaitable[Any]], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = b'{"Messages":[{"Body":"' + b"x" * (LARGEST_ANSWER_IN_BYTES - HEAD_IN_BYTES) + b'"}]}'
    async with answering(Reply(body=largest), way, monkeypatch) as (aws, _):
        assert len((await call(aws))["Messages"][0]["Body"]) == LARGEST_ANSWER_IN_BYTES - HEAD_IN_BYTES
    async with answering(Drop(HEAD + b" " * (LARGEST_ANSWER_IN_BYTES + 1)), way, monkeypatch) as (aws, server):
        with pytest.raises(AnswerTooLarge) as caught:
            await call(aws)
        assert (caught.value.code, caught.value.was_sent) == ("UnusableAnswer", True)
        assert len(server.requests) == 1


@pytest.mark.parametrize("call", [narrow, wide])
async def test_an_answer_is_never_decompressed(
    call: Callable[[Aws], Awaitable[Any]], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request asks for an encoding, and a few compressed kilobytes may be gigabytes."""
    packed = Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b'{"Messages":[{"Body":"x"}]}'))
    async with answering(packed, way, monkeypatch) as (aws, server):
        with pytest.raises(errors.Unreachable) as caught:
            await call(aws)
        assert caught.value.code == "UnusableAnswer"
        assert server.requests[0].headers["accept-encoding"] == "identity"


WIDE_CALLS: dict[str, tuple[str, dict[str, str]]] = {
    "sqs": ("send_message", {"QueueUrl": "http://queue", "MessageBody": "x"}),
    "sns": ("publish", {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:t", "Message": "x"}),
    "s3": ("put_object", {"Bucket": "b", "Key": "k", "Body": "x"}),
}


@pytest.mark.parametrize(
    ("service", "status", "body"),
    [
        ("sqs", 200, b"[1]"),
        ("sqs", 200, b"null"),
        ("sqs", 200, b"\xff"),
        ("sqs", 200, b"[" * 100_000),
        ("sqs", 400, b'{"__type":[1]}'),
        ("sqs", 503, b"1"),
        ("sns", 200, b"<other/>"),
        ("sns", 200, b"not XML"),
        ("sns", 400, b"<ErrorResponse><Error>x</Error></ErrorResponse>"),
        ("s3", 400, b"<PutObjectResponse><ResponseMetadata/></PutObjectResponse>"),
    ],
)
async def test_an_answer_of_another_shape_than_botocore_expects_is_unusable(
    service: str, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore's parsers raise any exception. It must not crash the mapping whose destination answers in this way."""
    monkeypatch.setattr(
        clients, "GENERAL_CLIENT", clients.GENERAL_CLIENT.merge(AioConfig(retries={"total_max_attempts": 1}))
    )
    operation, parameters = WIDE_CALLS[service]
    async with (
        answering(Reply(status=status, body=body), "direct", monkeypatch) as (aws, _),
        KeptClient(lambda: aws.client(service)) as client,
    ):
        with pytest.raises(errors.Unreachable) as caught:
            await client.call(operation, timeout_in_seconds=20, **parameters)
    assert (caught.value.code, caught.value.was_sent) == ("UnusableAnswer", True)
