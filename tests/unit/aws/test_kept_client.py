"""Is a general client kept open as long as its credentials are valid, and no longer?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.aws.kept_client import KeptClient
from poller.errors import AccessDenied, NotFound, ServiceError, Unreachable
from tests.fakes.aws_service import AwsService, error
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server
from tests.unit.aws.conftest import FIRST, SECOND, CredentialsFile

pytestmark = pytest.mark.anyio


async def answered(_: Request) -> Reply:
    return Reply(body=b'{"QueueUrls": ["http://queue"]}')


@asynccontextmanager
async def kept(
    reply: Callable[[Request], Awaitable[Reply | Drop]] = answered,
) -> AsyncIterator[tuple[KeptClient, AwsService, HttpServer]]:
    service = AwsService(reply)
    service.knows(FIRST, SECOND)
    async with (
        http_server(service) as server,
        Aws(AwsSettings(endpoint_url=server.url, region="eu-west-1")) as aws,
        KeptClient(lambda: aws.client("sqs")) as client,
    ):
        yield client, service, server


async def list_queues(client: KeptClient, timeout_in_seconds: float = 60) -> Any:
    return await client.call("list_queues", timeout_in_seconds=timeout_in_seconds, QueueNamePrefix="q")


async def test_many_calls_share_one_connection() -> None:
    async with kept() as (client, service, server):
        for _ in range(3):
            assert (await list_queues(client))["QueueUrls"] == ["http://queue"]
    assert (len(service.accepted), server.connections) == (3, 1)
    assert service.accepted[0].body == b'{"QueueNamePrefix": "q"}'


async def test_an_error_of_aws_is_translated_and_the_client_is_kept() -> None:
    async with kept(lambda _: asyncio.sleep(0, error(400, "QueueDoesNotExist", "no such queue"))) as (
        client,
        _,
        server,
    ):
        for _ in range(2):
            with pytest.raises(NotFound, match="no such queue"):
                await list_queues(client)
    assert server.connections == 1


async def test_after_a_denied_call_the_next_client_has_the_new_credentials(
    credentials_file: CredentialsFile,
) -> None:
    async with kept() as (client, service, _):
        await list_queues(client)
        service.expired.add(FIRST.session_token or "")
        credentials_file.write(SECOND)
        with pytest.raises(AccessDenied):
            await list_queues(client)
        await list_queues(client)
    assert len(service.accepted) == 2


async def test_many_calls_denied_at_once_leave_a_client_that_works(credentials_file: CredentialsFile) -> None:
    async with kept() as (client, service, _):
        service.expired.add(FIRST.session_token or "")
        await denied(client)
        credentials_file.write(SECOND)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(denied, client)
        await list_queues(client)


async def denied(client: KeptClient) -> None:
    with pytest.raises(AccessDenied):
        await list_queues(client)


async def test_a_call_without_credentials_is_denied_until_credentials_exist(credentials_file: CredentialsFile) -> None:
    async with kept() as (client, _, _):
        credentials_file.remove()
        with pytest.raises(AccessDenied):
            await list_queues(client)
        credentials_file.write(FIRST)
        await list_queues(client)


async def test_a_call_that_waits_too_long_for_credentials_says_so() -> None:
    @asynccontextmanager
    async def without_credentials() -> AsyncIterator[Any]:
        await anyio.sleep_forever()
        yield

    async with KeptClient(without_credentials) as client:
        with anyio.fail_after(60), pytest.raises(Unreachable, match=r"no credentials within 0.01 s") as caught:
            await list_queues(client, timeout_in_seconds=0.01)
    assert (caught.value.code, caught.value.was_sent) == ("Timeout", False)


@pytest.mark.slow
async def test_a_call_without_an_answer_in_time_is_unreachable_and_the_client_is_kept() -> None:
    is_mute = False

    async def at_times(request: Request) -> Reply:
        if is_mute:
            await asyncio.Event().wait()
        return await answered(request)

    async with kept(at_times) as (client, _, _):
        await list_queues(client)  # the search for credentials is over
        is_mute = True
        with anyio.fail_after(60), pytest.raises(Unreachable, match=r"no answer within 0.2 s") as caught:
            await list_queues(client, timeout_in_seconds=0.2)
        assert caught.value.was_sent
        is_mute = False
        await list_queues(client)


async def test_every_error_of_a_request_becomes_a_service_error() -> None:
    async with kept() as (client, _, _):
        with pytest.raises(ServiceError):
            await client.call("list_queues", timeout_in_seconds=60, Nonsense=1)


# Which client is open when


class Clients:
    """Numbered clients, and the set of the open ones. A call is an awaitable of the test."""

    def __init__(self, *, refuses_to_close: bool = False) -> None:
        self.refuses_to_close = refuses_to_close
        self.made = 0
        self.open: set[int] = set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Opened]:
        self.made += 1
        number = self.made
        await anyio.lowlevel.checkpoint()
        self.open.add(number)
        try:
            yield Opened()
        finally:
            self.open.remove(number)
            if self.refuses_to_close:
                raise Unreachable("no credentials to be had", code="Timeout", was_sent=False)


class Opened:
    async def list_queues(self, until: anyio.Event, error: Exception | None = None) -> None:
        await until.wait()
        if error is not None:
            raise error


async def test_simultaneous_calls_share_one_client_which_is_closed_at_the_end() -> None:
    clients, now = Clients(), anyio.Event()
    now.set()
    async with KeptClient(clients.client) as client:
        assert clients.made == 0
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask, client, now)
        assert clients.open == {1}
    assert (clients.made, clients.open) == (1, set())


async def test_a_denied_client_is_closed_by_its_last_call_and_its_successor_stays_open() -> None:
    clients, now, later = Clients(), anyio.Event(), anyio.Event()
    denial = AccessDenied("no", code="AccessDenied")
    async with KeptClient(clients.client) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, later, denial)
        group.start_soon(ask, client, now, denial)
        await anyio.wait_all_tasks_blocked()
        now.set()
        await anyio.wait_all_tasks_blocked()
        await ask(client, now)
        assert clients.open == {1, 2}
        later.set()
        await anyio.wait_all_tasks_blocked()
        assert clients.open == {2}
        await ask(client, now)
        assert clients.made == 2


async def test_an_error_while_a_denied_client_closes_does_not_fail_a_call_that_succeeded() -> None:
    clients, now, later = Clients(refuses_to_close=True), anyio.Event(), anyio.Event()
    async with KeptClient(clients.client) as client, anyio.create_task_group() as group:
        group.start_soon(ask, client, now, AccessDenied("no", code="AccessDenied"))
        group.start_soon(ask, client, later)
        await anyio.wait_all_tasks_blocked()
        now.set()
        await anyio.wait_all_tasks_blocked()
        later.set()
    assert (clients.made, clients.open) == (1, set())


async def ask(client: KeptClient, until: anyio.Event, error: Exception | None = None) -> None:
    with suppress(AccessDenied):
        await client.call("list_queues", timeout_in_seconds=60, until=until, error=error)
