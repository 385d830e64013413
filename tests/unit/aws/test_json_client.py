"""Does the fast client carry out a call, and report truly what happened to it?"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import anyio
import orjson
import pytest

from poller import errors
from poller.aws.clients import Aws, AwsSettings
from poller.aws.json_client import JsonClient
from poller.aws.signing import Credentials, resource
from poller.aws.wire import Route
from tests.fakes.aws_service import AwsService, error
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server
from tests.unit.aws.conftest import FIRST, SECOND, CredentialsFile

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run on both event loops of the daemon, because they report lost connections differently."""
    return "asyncio", {"use_uvloop": request.param}


BODY = orjson.dumps({"QueueUrl": "http://queue", "WaitTimeSeconds": 1})
DEEP = b"[" * 1000 + b"]" * 1000
ANSWER = {"Messages": [{"MessageId": "1", "Body": "é"}]}


async def answered(_: Request) -> Reply:
    return Reply(body=orjson.dumps(ANSWER))


@asynccontextmanager
async def calling(
    reply: Callable[[Request], Awaitable[Reply | Drop]] = answered,
    *,
    path: str = "",
    keys: tuple[Credentials, ...] = (FIRST,),
) -> AsyncIterator[tuple[JsonClient, AwsService, HttpServer]]:
    service = AwsService(reply)
    service.knows(*keys)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url + path)) as aws:
        yield await aws.json_client("sqs", region="eu-west-1"), service, server


async def receive(client: JsonClient, timeout_in_seconds: float = 60) -> Any:
    return await client.call("ReceiveMessage", BODY, timeout_in_seconds=timeout_in_seconds)


async def test_a_call_is_signed_and_returns_the_json_of_the_answer() -> None:
    async with calling() as (client, service, _):
        assert await receive(client) == ANSWER
    [request] = service.accepted
    assert (request.method, request.target, request.body) == ("POST", "/", BODY)
    assert request.headers["x-amz-security-token"] == FIRST.session_token
    assert request.headers["x-amz-target"] == "AmazonSQS.ReceiveMessage"


@pytest.mark.parametrize("service_name", ["sqs", "kinesis", "dynamodbstreams"])
@pytest.mark.parametrize("path", ["", "/", "/base", "/base/"])
async def test_a_request_has_the_same_form_as_aiobotocores(service_name: str, path: str) -> None:
    operation = {"sqs": "ListQueues", "kinesis": "ListStreams", "dynamodbstreams": "ListStreams"}[service_name]
    service = AwsService(lambda request: asyncio.sleep(0, Reply(body=b"{}")))
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url + path)) as aws:
        async with aws.client(service_name, region="eu-west-1") as client:
            await getattr(client, {"ListQueues": "list_queues", "ListStreams": "list_streams"}[operation])()
        await (await aws.json_client(service_name, region="eu-west-1")).call(operation, b"{}", timeout_in_seconds=60)
    theirs, ours = service.accepted
    assert ours.target == theirs.target
    assert ours.body == theirs.body
    for name in ("content-type", "x-amz-target", "host", "x-amz-security-token", "accept-encoding"):
        assert ours.headers[name] == theirs.headers[name]
    scope = slice(theirs.headers["authorization"].index("/"), theirs.headers["authorization"].index(","))
    assert ours.headers["authorization"][scope] == theirs.headers["authorization"][scope]


async def test_a_connection_serves_one_call_after_another() -> None:
    async with calling() as (client, _, server):
        for _number in range(3):
            await receive(client)
        assert server.connections == 1


async def test_a_body_of_megabytes_arrives_whole() -> None:
    async with calling() as (client, service, _):
        await client.call("SendMessage", b"x" * (3 << 20), timeout_in_seconds=60)
    assert service.accepted[0].body == b"x" * (3 << 20)


@pytest.mark.parametrize("offset_in_seconds", [-3600, 3600])
async def test_the_offset_of_our_clock_is_learned_once(offset_in_seconds: float) -> None:
    async with calling() as (client, service, server):
        service.clock_offset_in_seconds = offset_in_seconds
        await asyncio.gather(*[receive(client) for _ in range(4)])
        assert len(server.requests) <= 8
        assert len(service.accepted) == 4
        await receive(client)
        assert len(server.requests) <= 9


async def test_a_wrong_secret_is_not_mistaken_for_a_wrong_clock(credentials_file: CredentialsFile) -> None:
    credentials_file.write(FIRST._replace(secret_access_key="wrong"))
    async with calling() as (client, _, server):
        with pytest.raises(errors.AccessDenied) as caught:
            await receive(client)
        assert caught.value.code == "InvalidSignatureException"
        assert len(server.requests) == 1


async def test_an_expired_token_is_replaced_and_the_call_is_sent_again(credentials_file: CredentialsFile) -> None:
    async with calling(keys=(FIRST, SECOND)) as (client, service, server):
        await receive(client)
        service.expired.add(FIRST.session_token or "")
        credentials_file.write(SECOND)
        await asyncio.gather(*[receive(client) for _ in range(3)])
        assert {request.headers["x-amz-security-token"] for request in service.accepted[1:]} == {SECOND.session_token}
        assert len(server.requests) <= 7


async def test_credentials_that_became_invalid_are_replaced(credentials_file: CredentialsFile) -> None:
    async with calling(keys=(SECOND,)) as (client, service, _):
        with pytest.raises(errors.AccessDenied) as caught:
            await receive(client)
        assert caught.value.code == "UnrecognizedClientException"
        credentials_file.write(SECOND)
        await receive(client)
        assert len(service.accepted) == 1


async def test_an_expired_token_without_a_replacement_is_reported_and_not_sent_again() -> None:
    async with calling() as (client, service, server):
        service.expired.add(FIRST.session_token or "")
        with pytest.raises(errors.AccessDenied) as caught:
            await receive(client)
        assert caught.value.code == "ExpiredTokenException"
        assert len(server.requests) == 1


async def test_missing_credentials_fail_the_call_and_later_ones_are_used(
    credentials_file: CredentialsFile,
) -> None:
    credentials_file.remove()
    async with calling() as (client, _, server):
        with pytest.raises(errors.AccessDenied) as caught:
            await receive(client)
        assert caught.value.code == "NoCredentialsError"
        assert server.requests == []
        credentials_file.write(FIRST)
        assert await receive(client) == ANSWER


@pytest.mark.parametrize(
    ("reply", "expected", "code"),
    [
        (error(400, "QueueDoesNotExist"), errors.NotFound, "QueueDoesNotExist"),
        (error(400, "AccessDeniedException"), errors.AccessDenied, "AccessDeniedException"),
        (
            Reply(status=403, headers={"Date": "yesterday"}, body=b'{"__type":"RequestTimeTooSkewed"}'),
            errors.AccessDenied,
            "RequestTimeTooSkewed",
        ),
        (error(403, "RequestThrottled"), errors.Throttled, "RequestThrottled"),
        (error(400, "InvalidAddress"), errors.Rejected, "InvalidAddress"),
        (Reply(status=400, body=b'{"__type":"X","message":%b}' % DEEP), errors.Rejected, "X"),
        (Reply(status=400, body=b'{"__type":%b}' % DEEP), errors.Rejected, "Http400"),
        (error(503, "ServiceUnavailable"), errors.Unreachable, "ServiceUnavailable"),
        (Reply(status=502, body=b"<html>"), errors.Unreachable, "Http502"),
        (Reply(status=301, headers={"Location": "http://127.0.0.1:9/"}), errors.Rejected, "Http301"),
        (Reply(status=200, body=b"<html>"), errors.Unreachable, "UnusableAnswer"),
        (Reply(status=200, body=b""), errors.Unreachable, "UnusableAnswer"),
        (Reply(status=200, body=b'{"MillisBehindLatest":NaN}'), errors.Unreachable, "UnusableAnswer"),
        (Reply(status=200, body=b"[" * 2000 + b"]" * 2000), errors.Unreachable, "UnusableAnswer"),
        (
            Reply(status=400, headers={"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}),
            errors.NotFound,
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
    ],
)
async def test_an_error_answer_becomes_the_matching_exception(
    reply: Reply, expected: type[errors.ServiceError], code: str
) -> None:
    async with calling(lambda request: asyncio.sleep(0, reply)) as (client, _, server):
        with pytest.raises(errors.ServiceError) as caught:
            await receive(client)
        assert (type(caught.value), caught.value.code) == (expected, code)
        assert len(server.requests) == 1


async def test_half_a_surrogate_pair_does_not_make_the_whole_answer_unreadable() -> None:
    """An emulator may send it; the rest of the answer is valid."""
    body = b'{"Messages":[{"Body":"\\ud800"},{"Body":"fine"}]}'
    async with calling(lambda request: asyncio.sleep(0, Reply(body=body))) as (client, _, _server):
        assert (await receive(client))["Messages"] == [{"Body": "\ud800"}, {"Body": "fine"}]


@pytest.mark.parametrize("offset_in_seconds", [-7200, 0, 7200])
async def test_the_date_of_an_answer_sets_the_clock_of_the_service(offset_in_seconds: float) -> None:
    async def dated(_: Request) -> Reply:
        return Reply(headers={"Date": formatdate(time.time() + offset_in_seconds, usegmt=True)}, body=b"{}")

    async with calling(dated) as (client, _, _server):
        await receive(client)
        there = time.time() + offset_in_seconds
        assert there - 60 < client.clock.now() < there + 60
        assert there - 60 < client.clock.reached() <= time.time() + offset_in_seconds


async def test_the_clock_of_one_endpoint_says_nothing_about_another() -> None:
    service, other = AwsService(answered), AwsService(answered)
    service.knows(FIRST)
    other.knows(FIRST)
    service.clock_offset_in_seconds = 3600
    async with http_server(service) as server, http_server(other) as other_server:
        endpoints = {"sqs": server.url, "kinesis": other_server.url}
        async with Aws(AwsSettings(region="eu-west-1", endpoints=endpoints)) as aws:
            sqs, kinesis = await aws.json_client("sqs"), await aws.json_client("kinesis")
            await receive(sqs)
            await kinesis.call("ListShards", b"{}", timeout_in_seconds=60)
            assert sqs.clock.now() > time.time() + 3500
            assert (await aws.json_client("sqs")).clock is sqs.clock
            assert abs(kinesis.clock.now() - time.time()) < 60
            assert len(other_server.requests) == 1


async def test_clients_of_two_regions_at_one_endpoint_sign_for_their_own_region() -> None:
    async with calling() as (_, service, server), Aws(AwsSettings(endpoint_url=server.url)) as aws:
        for region in ("eu-west-1", "eu-north-1"):
            await receive(await aws.json_client("sqs", region=region))
        scopes = [request.headers["authorization"].split("/")[2] for request in service.accepted]
        assert scopes == ["eu-west-1", "eu-north-1"]


@pytest.mark.parametrize("year", ["1999", "2199", "99999999999"])
async def test_a_service_with_a_wrong_year_does_not_change_the_date_of_our_requests(year: str) -> None:
    body = b'{"__type":"RequestTimeTooSkewed"}'
    reply = Reply(status=403, headers={"Date": f"Fri, 01 Jan {year} 00:00:00 GMT"}, body=body)
    async with calling(lambda request: asyncio.sleep(0, reply)) as (client, _, server):
        with pytest.raises(errors.AccessDenied) as caught:
            await receive(client)
        assert caught.value.code == "RequestTimeTooSkewed"
        assert len(server.requests) == 1
        assert abs(client.clock.now() - time.time()) < 60


async def test_a_throttling_error_carries_the_requested_pause() -> None:
    reply = Reply(status=429, headers={"Retry-After": "7"}, body=b"{}")
    async with calling(lambda request: asyncio.sleep(0, reply)) as (client, _, _server):
        with pytest.raises(errors.Throttled) as caught:
            await receive(client)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200", b'HTTP/1.1 200 -\r\nContent-Length: 9\r\n\r\n{"a'])
async def test_a_connection_lost_after_sending_may_have_had_an_effect(raw: bytes) -> None:
    async with calling(lambda request: asyncio.sleep(0, Drop(raw))) as (client, _, _server):
        with pytest.raises(errors.Unreachable) as caught:
            await receive(client)
    assert caught.value.was_sent


def hanging_up_on_the_second() -> Callable[[Request], Awaitable[Reply | Drop]]:
    numbers = itertools.count(1)

    async def reply(request: Request) -> Reply | Drop:
        return Drop() if next(numbers) == 2 else await answered(request)

    return reply


@pytest.mark.parametrize(
    "operation",
    [
        *("ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "GetQueueAttributes"),
        *("ListShards", "DescribeStream", "GetShardIterator", "GetRecords"),
    ],
)
async def test_an_idempotent_call_is_sent_again_if_the_service_closed_the_connection(operation: str) -> None:
    async with calling(hanging_up_on_the_second()) as (client, _, server):
        await receive(client)
        assert await client.call(operation, BODY, timeout_in_seconds=60) == ANSWER
        assert server.connections == 2


async def test_a_call_that_is_not_idempotent_is_not_sent_again() -> None:
    async with calling(hanging_up_on_the_second()) as (client, _, server):
        await receive(client)
        with pytest.raises(errors.Unreachable) as caught:
            await client.call("SendMessage", BODY, timeout_in_seconds=60)
        assert caught.value.was_sent
        assert server.connections == 1


async def test_an_invocation_is_not_sent_again_after_a_lost_connection() -> None:
    service = AwsService(hanging_up_on_the_second())
    service.knows(FIRST)
    async with http_server(service) as server, Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws:
        invoker = await aws.invoker("f", timeout_in_seconds=60)
        await invoker.invoke(b"{}", {})
        with pytest.raises(errors.Unreachable) as caught:
            await invoker.invoke(b"{}", {})
        assert caught.value.was_sent
        assert len(server.requests) == 2


async def test_a_token_with_a_line_break_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "token\r\nx-amz-target: AmazonSQS.DeleteQueue"
    for name, value in (("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", token)):
        monkeypatch.setenv(f"AWS_{name}", value)
    async with calling() as (client, _, server):
        with pytest.raises(errors.Rejected, match="x-amz-security-token") as caught:
            await receive(client)
        assert token not in str(caught.value)
        assert server.requests == []


async def test_a_token_with_a_control_character_is_not_sent_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("token\r\nx-amz-target: AmazonSQS.DeleteQueue", "token\x01"):
        for name, value in (("ACCESS_KEY_ID", "AKID"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", token)):
            monkeypatch.setenv(f"AWS_{name}", value)
        async with http_server(answered) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            async with Aws(AwsSettings(endpoint_url="http://sqs.invalid", region="eu-west-1")) as aws:
                with pytest.raises(errors.Rejected, match="character") as caught:
                    await receive(await aws.json_client("sqs"))
            assert caught.value.code == "UnusableHeader"
            assert token not in str(caught.value)
            assert proxy.requests == []


@pytest.mark.parametrize(
    "url", ["http://host/a b", "http://host/\N{LATIN SMALL LETTER E WITH ACUTE}", "http://ho\x7fst/"]
)
def test_a_url_with_a_line_break_is_a_fault_of_the_settings(url: str) -> None:
    with pytest.raises(errors.SettingsError, match="endpoint"):
        Route.to(resource("POST", url), proxy=None)


async def test_a_call_that_never_got_a_connection_had_no_effect() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with Aws(AwsSettings(endpoint_url=url)) as aws:
        with pytest.raises(errors.Unreachable) as caught:
            await receive(await aws.json_client("sqs", region="eu-west-1"))
    assert not caught.value.was_sent


async def test_a_call_ends_with_its_timeout() -> None:
    """It is the second call, which has a connection: its request is sent at once, even on a slow machine."""
    is_mute = False

    async def at_times(request: Request) -> Reply:
        if is_mute:
            await anyio.sleep_forever()
        return await answered(request)

    async with calling(at_times) as (client, _, server):
        await receive(client)
        is_mute = True
        with pytest.raises(errors.Unreachable) as caught:
            await receive(client, timeout_in_seconds=0.05)
        assert caught.value.was_sent
    assert server.connections == 1


async def test_a_cancelled_call_drops_its_connection_and_the_next_call_gets_its_own_answer() -> None:
    sent = anyio.Event()

    async def slow_at_first(request: Request) -> Reply:
        if not sent.is_set():
            sent.set()
            await anyio.sleep_forever()
        return await answered(request)

    async with calling(slow_at_first) as (client, _, server):
        async with anyio.create_task_group() as group:
            group.start_soon(receive, client)
            await sent.wait()
            group.cancel_scope.cancel()
        assert await receive(client) == ANSWER
        assert server.connections == 2
        assert server.abandoned == 1
