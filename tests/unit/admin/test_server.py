"""What does the daemon answer over HTTP?"""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio
import anyio.lowlevel
import pytest
from aiohttp import ClientSession
from anyio.abc import SocketStream

from poller.admin import answers
from poller.admin.connections import DESCRIPTORS_KEPT, LONGEST_SECONDS, MAXIMUM_CONNECTIONS, Connections
from poller.admin.guard import Access
from poller.admin.page.view import Viewer
from poller.admin.readiness import BLOCKED_SHARDS_LISTED, BLOCKED_SHARDS_SHOWN
from poller.admin.server import Pages, serve
from poller.admin.status_report import status_report
from poller.admin.viewing import PageSources
from poller.errors import CannotListen
from poller.facts import ChildProcessStopped, Fact, MessagesReceived
from poller.model.arn import Arn
from poller.model.function import ChildProcess, Function, HttpService
from poller.model.function_status import ChildStatus, FunctionStatus, LoggedLine
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, RowKey
from poller.model.sharing import SeenLease, SeenWorker, SharingStatus
from poller.model.status import (
    BlockedShard,
    EventsStatus,
    LaneStatus,
    MappingState,
    MappingStatus,
    ShardStatus,
    StreamStatus,
    WorkerState,
    WorkerStatus,
)
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.history import BOUNDS_IN_SECONDS, INTERVAL_IN_SECONDS, MappingHistory
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.fakes.descriptors import is_any_free, no_descriptor_left
from tests.unit.admin.test_page import view

pytestmark = pytest.mark.anyio

STORE = FunctionName("store")
READY = MappingStatus(MappingName("orders"), STORE, "arn:a", "ready", None, 1, 0, 0, 8)
TROUBLED = MappingStatus(MappingName("invoices"), STORE, "arn:b", "troubled", "the queue is gone", 0, 0, 0, 1)
ACCESS = Access(hosts=["poller.internal"])
NOTHING_FAILED = {"since": None, "attempt": None, "next_try": None}
DISABLED = MappingStatus(MappingName("old"), STORE, "arn:c", "disabled", None, 0, 0, 0, 1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def connected(client: ClientSession) -> SocketStream:
    """Return a new connection to the client's server."""
    return await anyio.connect_tcp(*address_of(client))


def address_of(client: ClientSession) -> tuple[str, int]:
    url = client._base_url
    assert url is not None
    assert url.host is not None
    assert url.port is not None
    return url.host, url.port


async def everything(connection: SocketStream) -> bytes:
    """Read everything until the other side ends the connection."""
    received = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            received += await connection.receive()
    return received


def no_log(_fact: Fact) -> None:
    pass


@asynccontextmanager
async def serving(statuses: Sequence[MappingStatus]) -> AsyncIterator[ClientSession]:
    """Yield a client of a server that shows these statuses. The mapping `orders` has polled ten records."""
    telemetry = Telemetry()
    for status in statuses:
        telemetry.begin_mapping(status.mapping, status.function, is_stream=False)
    telemetry.watch(lambda: statuses)
    telemetry.emit(MessagesReceived(READY.mapping, 10))
    async with (
        serve(
            ("127.0.0.1", 0),
            Pages(telemetry.registry, lambda: statuses),
            access=lambda: ACCESS,
            changes=FakeChanges(),
            emit=no_log,
        ) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        yield client


async def test_metrics_are_prometheus_text() -> None:
    async with serving([READY]) as client, client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = await answer.text()
    assert 'poller_records_polled_total{mapping="orders"} 10.0\n' in text
    assert 'poller_mapping_ready{mapping="orders"} 1.0\n' in text


async def test_metrics_are_openmetrics_if_the_client_accepts_it() -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"}
    async with serving([READY]) as client, client.get("/metrics", headers=accept) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert (await answer.text()).endswith("# EOF\n")


async def test_health_is_200_even_when_no_mapping_is_ready() -> None:
    async with serving([TROUBLED]) as client, client.get("/healthz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"healthy": True}


async def test_ready_is_200_when_every_enabled_mapping_is_ready() -> None:
    async with serving([READY, DISABLED]) as client, client.get("/readyz") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "ready": True,
            "mappings": {
                "orders": {"state": "ready", "reason": None} | NOTHING_FAILED,
                "old": {"state": "disabled", "reason": None} | NOTHING_FAILED,
            },
            "events": {},
        }


@pytest.mark.parametrize("state", ["starting", "stopping"])
async def test_ready_is_503_with_the_reason_while_one_mapping_searches_its_source_or_stops(state: MappingState) -> None:
    without_source = TROUBLED._replace(state=state)
    async with serving([READY, without_source]) as client, client.get("/readyz") as answer:
        assert answer.status == 503
        body = await answer.json()
    assert body["ready"] is False
    assert body["mappings"]["invoices"] == {"state": state, "reason": "the queue is gone"} | NOTHING_FAILED


@pytest.mark.parametrize(("state", "expected"), [("starting", 200), ("stopping", 503)])
async def test_a_mapping_whose_source_an_earlier_run_has_found_is_ready_while_it_starts_again(
    state: MappingState, expected: int
) -> None:
    again = TROUBLED._replace(state=state, was_found=True)
    async with serving([READY, again]) as client, client.get("/readyz") as answer:
        assert answer.status == expected
        body = await answer.json()
    assert body["ready"] is (expected == 200)
    assert body["mappings"]["invoices"]["state"] == state


@pytest.mark.parametrize("state", ["waiting", "troubled"])
async def test_a_failure_after_the_source_was_found_changes_only_the_body(state: MappingState) -> None:
    since = 1_769_860_800.75
    failing = TROUBLED._replace(state=state, since=since, attempt=7, next_try=since + 20)
    async with serving([READY, failing]) as client, client.get("/readyz") as answer:
        assert answer.status == 200
        body = await answer.json()
    assert body["ready"] is True
    assert body["mappings"]["invoices"] == {
        "state": state,
        "reason": "the queue is gone",
        "since": "2026-01-31T12:00:00Z",
        "attempt": 7,
        "next_try": "2026-01-31T12:00:20Z",
    }


async def test_all_blocked_shards_of_one_mapping_are_listed_though_its_status_shows_only_the_first() -> None:
    blocked = [BlockedShard(ShardId(f"shard-{number}"), "KeyError", 0.0) for number in range(BLOCKED_SHARDS_LISTED + 1)]
    stream = StreamStatus(shards_blocked=len(blocked), blocked=tuple(blocked))
    clicks = READY._replace(stream=stream, destination="arn:d")
    events = READY._replace(mapping=MappingName("store:events"), events=EventsStatus())
    async with serving([TROUBLED, clicks, events]) as client:
        async with client.get("/api/shards", params={"mapping": "store:events"}) as answer:
            assert answer.status == 404
        async with client.get("/api/status") as answer:
            shown = (await answer.json())["mappings"]["orders"]["blocked"]
        async with client.get("/api/shards", params={"mapping": "orders"}) as answer:
            assert answer.status == 200
            listed = await answer.json()
        async with client.get("/api/shards", params={"mapping": "invoices"}) as answer:
            report = await answer.json()
            assert report == {"mapping": "invoices", "source": "arn:b", "destination": None, "blocked": []}
        async with client.get("/api/shards") as answer:
            error = "there is no mapping ; the names are invoices, orders"
            assert (answer.status, await answer.json()) == (404, {"error": error})
    assert [entry["shard"] for entry in shown] == [shard.shard_id for shard in blocked[:BLOCKED_SHARDS_SHOWN]]
    assert [entry["shard"] for entry in listed["blocked"]] == [
        shard.shard_id for shard in blocked[:BLOCKED_SHARDS_LISTED]
    ]
    assert (listed["mapping"], listed["destination"]) == ("orders", "arn:d")


async def test_a_blocked_shard_is_named_and_leaves_its_mapping_ready() -> None:
    first, last = SequenceNumber("4959"), SequenceNumber("4961")
    blocked = BlockedShard(
        ShardId("shardId-000000000003"),
        "KeyError",
        1_769_860_800.75,
        3,
        first,
        last,
        "'email'",
        keys=("user-1", "user-2"),
        oldest_arrived_at=1_769_860_798.0,
        attempt=7,
        next_try=1_769_860_860.0,
        actions=("retry", "discard"),
    )
    clicks = READY._replace(stream=StreamStatus(shards_reading=4, shards_blocked=2, blocked=(blocked,)))
    idle = READY._replace(mapping=MappingName("views"), stream=StreamStatus())
    async with serving([clicks, idle]) as client, client.get("/readyz") as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "ready": True,
            "mappings": {
                "orders": {
                    "state": "ready",
                    "reason": None,
                    **NOTHING_FAILED,
                    "shards_blocked": 2,
                    "blocked": [
                        {
                            "shard": "shardId-000000000003",
                            "reason": "KeyError",
                            "detail": "'email'",
                            "since": "2026-01-31T12:00:00Z",
                            "attempt": 7,
                            "next_try": "2026-01-31T12:01:00Z",
                            "records": 3,
                            "start_sequence_number": "4959",
                            "end_sequence_number": "4961",
                            "kept_until": "2026-02-01T11:59:58Z",
                            "actions": ["retry", "discard"],
                        },
                    ],
                },
                "views": {"state": "ready", "reason": None, **NOTHING_FAILED, "shards_blocked": 0, "blocked": []},
            },
            "events": {},
        }


@pytest.mark.parametrize(("state", "expected"), [("ready", 200), ("silent", 503), ("ended", 503)])
async def test_a_daemon_of_several_workers_is_ready_when_all_workers_are(state: WorkerState, expected: int) -> None:
    workers = [
        WorkerStatus(1, "ready", None, 4711, 1_769_860_800.75, 0),
        WorkerStatus(2, state, "it has not reported for 6 s", 4712, 1_769_860_860.0, 3),
    ]
    asked: list[str] = []

    async def refresh() -> None:
        asked.append("all")

    pages = Pages(Telemetry().registry, lambda: [READY], workers=lambda: workers, refresh=refresh)
    async with (
        serve(("127.0.0.1", 0), pages, access=lambda: ACCESS, changes=FakeChanges(), emit=Telemetry().emit) as (
            host,
            port,
        ),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        for path in ("/readyz", "/api/status"):
            async with client.get(path) as answer:
                assert answer.status == (expected if path == "/readyz" else 200)
                report = await answer.json()
            assert report["ready"] is (expected == 200)
            assert report["workers"] == {
                "1": {"state": "ready", "reason": None, "pid": 4711, "since": "2026-01-31T12:00:00Z", "restarts": 0},
                "2": {
                    "state": state,
                    "reason": "it has not reported for 6 s",
                    "pid": 4712,
                    "since": "2026-01-31T12:01:00Z",
                    "restarts": 3,
                },
            }
        for path in ("/metrics", "/"):
            async with client.get(path) as answer:
                assert answer.status == 200
    assert asked == ["all"] * 4, "each page shows the present"


async def test_the_asynchronous_events_of_a_function_have_an_entry_with_the_numbers_of_their_queue() -> None:
    events = EventsStatus(waiting=3, in_flight=1, stuck=2, oldest_age_in_seconds=12.5)
    store = READY._replace(mapping=MappingName("store:events"), events=events)
    async with serving([READY, store]) as client, client.get("/readyz") as answer:
        body = await answer.json()
    assert list(body["mappings"]) == ["orders"]
    assert body["events"] == {
        "store": {
            "state": "ready",
            "reason": None,
            **NOTHING_FAILED,
            "waiting": 3,
            "in_flight": 1,
            "stuck": 2,
            "oldest_age_in_seconds": 12.5,
        }
    }


async def test_ready_is_503_while_the_events_of_a_function_have_not_found_their_queue() -> None:
    store = READY._replace(mapping=MappingName("store:events"), events=EventsStatus(), state="starting")
    async with serving([READY, store]) as client, client.get("/readyz") as answer:
        assert answer.status == 503


async def test_the_page_is_html_with_a_policy_that_forbids_loading_anything_else() -> None:
    async with serving([READY]) as client, client.get("/") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "orders" in await answer.text()


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz"])
async def test_a_head_request_is_answered_like_get_without_a_body(path: str) -> None:
    async with serving([READY]) as client, client.head(path) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


@pytest.mark.parametrize("path", ["/", "/readyz"])
async def test_the_statuses_are_read_in_the_event_loop(path: str) -> None:
    threads: list[int] = []

    def statuses() -> Sequence[MappingStatus]:
        threads.append(threading.get_ident())
        return [READY]

    registry = Telemetry().registry
    async with (
        serve(("127.0.0.1", 0), Pages(registry, statuses), access=Access, changes=FakeChanges(), emit=no_log) as (
            host,
            port,
        ),
        ClientSession(f"http://{host}:{port}") as client,
        client.get(path) as answer,
    ):
        assert answer.status == 200
    assert threads == [threading.get_ident()]


async def test_an_unknown_path_is_answered_with_404_in_json() -> None:
    async with serving([READY]) as client, client.get("/nothing") as answer:
        assert answer.status == 404
        assert await answer.json() == {"error": "Not Found"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_a_page_refuses_every_method_but_get_and_head(method: str) -> None:
    async with serving([READY]) as client, client.request(method, "/readyz", data=b"x") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET,HEAD"
        assert await answer.json() == {"error": "Method Not Allowed"}


async def test_a_page_that_fails_is_answered_with_500_and_other_pages_still_work() -> None:
    def broken() -> Sequence[MappingStatus]:
        raise RuntimeError("no statuses")

    registry = Telemetry().registry
    async with (
        serve(("127.0.0.1", 0), Pages(registry, broken), access=Access, changes=FakeChanges(), emit=no_log) as (
            host,
            port,
        ),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        async with client.get("/readyz") as answer:
            assert answer.status == 500
            assert await answer.json() == {"error": "a fault of poller; see its log"}
        async with client.get("/healthz") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["/", "/readyz", "/nothing"])
async def test_a_request_with_a_host_that_is_not_allowed_is_answered_with_421(path: str) -> None:
    async with serving([READY]) as client, client.get(path, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421
        assert await answer.json() == {"error": "this name is not in [daemon] http_hosts"}


@pytest.mark.parametrize("path", ["/", "/readyz"])
@pytest.mark.parametrize("host", ["poller.internal", "localhost:9464", "[::1]"])
async def test_a_request_with_an_allowed_host_is_answered(path: str, host: str) -> None:
    async with serving([READY]) as client, client.get(path, headers={"Host": host}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
async def test_probes_and_scrapers_may_use_any_host_name(path: str) -> None:
    async with serving([READY]) as client, client.get(path, headers={"Host": "evil.example"}) as answer:
        assert answer.status == 200


async def test_a_connection_is_closed_after_one_request() -> None:
    async with serving([READY]) as client, await connected(client) as connection:
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        assert (await everything(connection)).count(b"HTTP/1.1 200") == 1


async def test_silent_connections_make_room_for_others() -> None:
    async with serving([READY]) as client, AsyncExitStack() as idle:
        first = await idle.enter_async_context(await connected(client))
        for _ in range(MAXIMUM_CONNECTIONS + 5):
            await idle.enter_async_context(await connected(client))
        with anyio.fail_after(LONGEST_SECONDS * 2 / 3):  # before the first of them ends by itself
            async with client.get("/healthz") as answer:
                assert answer.status == 200
        with anyio.fail_after(60):
            assert await everything(first) == b""


async def test_ended_connections_do_not_count_against_the_limit() -> None:
    async with serving([READY]) as client, await connected(client) as slow:
        for _ in range(MAXIMUM_CONNECTIONS + 5):
            async with client.get("/healthz") as answer:
                assert answer.status == 200
        await slow.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with anyio.fail_after(5):
            assert (await everything(slow)).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
async def test_a_connection_is_closed_at_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.admin.connections.LONGEST_SECONDS", 0.2)
    async with serving([READY]) as client, await connected(client) as connection:
        await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with anyio.fail_after(60):
            assert await everything(connection) == b""


@pytest.mark.slow
async def test_health_answers_repeatedly_if_no_file_descriptor_is_left() -> None:
    """The sockets of the probes stay open, so that no probe frees a descriptor for the next one."""
    loop = asyncio.get_running_loop()
    async with serving([READY]) as client:
        with ExitStack() as probes:
            sockets = [probes.enter_context(socket.socket()) for _ in range(DESCRIPTORS_KEPT + 2)]
            with no_descriptor_left(), anyio.fail_after(60):
                for probe in sockets:
                    probe.setblocking(False)
                    await loop.sock_connect(probe, address_of(client))
                    await loop.sock_sendall(probe, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert (await loop.sock_recv(probe, 1000)).startswith(b"HTTP/1.1 200")
                    while is_any_free():  # until the used one is replaced
                        await anyio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_a_connection_waits_if_not_even_a_reserved_file_descriptor_is_left() -> None:
    loop = asyncio.get_running_loop()
    async with serving([READY]) as client, AsyncExitStack() as idle:
        sockets = [idle.enter_context(socket.socket()) for _ in range(DESCRIPTORS_KEPT + 1)]
        with no_descriptor_left():
            for probe in sockets:
                probe.setblocking(False)
                await loop.sock_connect(probe, address_of(client))
            await loop.sock_sendall(sockets[-1], b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with anyio.move_on_after(0.3) as waiting:
                await loop.sock_recv(sockets[-1], 1000)
            assert waiting.cancelled_caught
        with anyio.fail_after(60):
            assert (await loop.sock_recv(sockets[-1], 1000)).startswith(b"HTTP/1.1 200")


def open_descriptors() -> set[Path]:
    return set(Path("/dev/fd").iterdir())


@pytest.mark.slow
async def test_reserved_file_descriptors_are_closed_at_the_end() -> None:
    gc.collect()  # nothing that a former test left may be closed meanwhile
    before = open_descriptors()
    with Connections().keeping_descriptors():
        assert len(open_descriptors()) == len(before) + DESCRIPTORS_KEPT
    assert open_descriptors() == before


async def test_a_port_in_use_is_reported_with_the_key_of_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            async with serve(
                ("127.0.0.1", port),
                Pages(Telemetry().registry, list),
                access=Access,
                changes=FakeChanges(),
                emit=no_log,
            ):
                raise AssertionError("it cannot have been bound")
    fault = f"daemon.http_listen: 127.0.0.1:{port}: cannot listen there: Address already in use"
    assert str(caught.value) == fault


@pytest.mark.parametrize("listen", [("203.0.113.1", 8080), ("127.0.0.1", 70_000)])
async def test_an_impossible_address_is_reported_with_the_key_of_the_option(listen: tuple[str, int]) -> None:
    with pytest.raises(CannotListen, match=r"daemon\.http_listen"):
        async with serve(listen, Pages(Telemetry().registry, list), access=Access, changes=FakeChanges(), emit=no_log):
            raise AssertionError("it cannot have been bound")


async def test_the_server_closes_its_connections_even_if_its_block_is_cancelled() -> None:
    registry = Telemetry().registry
    with anyio.CancelScope() as scope:
        async with serve(
            ("127.0.0.1", 0), Pages(registry, list), access=Access, changes=FakeChanges(), emit=no_log
        ) as (host, port):
            connection = await anyio.connect_tcp(host, port)
            await connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.sleep_forever()
    with anyio.fail_after(60), pytest.raises(anyio.EndOfStream):
        await connection.receive()
    await connection.aclose()
    with pytest.raises(OSError, match="connection attempts failed"):
        await anyio.connect_tcp(host, port)


async def test_the_status_says_who_shares_the_leases_of_the_state_and_who_reads_which_shard() -> None:
    blue = Owner(f"blue/{'8f3a' * 8}")
    leases = (
        SeenLease(RowKey("clicks/arn/shardId-000000000001"), blue, 90.0),
        SeenLease(RowKey("clicks/arn/shardId-000000000002"), None, 5.0),
    )
    sharing = SharingStatus(blue, 1, 2, (SeenWorker(blue, 3, 12.5, is_stopping=False),), 0.5, 1.5, 5.0, leases)
    pages = Pages(Telemetry().registry, list, sharing=lambda: sharing)
    async with (
        serve(("127.0.0.1", 0), pages, access=Access, changes=FakeChanges(), emit=no_log) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
        client.get("/api/status") as answer,
    ):
        report = (await answer.json())["sharing"]
    answers.Sharing.model_validate(report)
    assert report == {
        "shards": 1,
        "units": 2,
        "state_silence_in_seconds": 0.5,
        "heartbeat_age_in_seconds": 1.5,
        "unread_in_seconds": 5.0,
        "workers": [{"worker": "blue/8f3a", "leases": 3, "bytes_per_second": 12.5, "is_stopping": False}],
        "leases": [
            {"mapping": "clicks", "shard": "shardId-000000000001", "worker": "blue/8f3a", "seconds": 90.0},
            {"mapping": "clicks", "shard": "shardId-000000000002", "worker": None, "seconds": 5.0},
        ],
    }


async def test_the_status_has_the_first_shards_that_are_read_with_their_lanes() -> None:
    lanes = (LaneStatus(2, 3, False, "KeyError", 7, 1_769_860_860.0), LaneStatus(3, 1, True))
    shard = ShardStatus(
        ShardId("shardId-000000000003"),
        Owner(f"blue/{'8f3a' * 8}"),
        1_769_860_800.75,
        "AFTER_SEQUENCE_NUMBER 4959",
        12.5,
        records=4,
        lanes=lanes,
    )
    clicks = READY._replace(stream=StreamStatus(shards_reading=4, shards=(shard,)))
    async with serving([clicks]) as client, client.get("/api/status") as answer:
        body = await answer.json()
    answers.Status.model_validate(body)
    lane = {"records": 1, "is_invoking": True, "reason": None, "attempt": None, "next_try": None}
    blocked = {"is_invoking": False, "reason": "KeyError", "attempt": 7, "next_try": "2026-01-31T12:01:00Z"}
    assert body["mappings"]["orders"]["shards_read"] == [
        {
            "shard": "shardId-000000000003",
            "worker": "blue/8f3a",
            "read_since": "2026-01-31T12:00:00Z",
            "position": "AFTER_SEQUENCE_NUMBER 4959",
            "behind_in_seconds": 12.5,
            "records_in_hand": 4,
            "blocked_since": None,
            "lanes": [{"number": 2, "records": 3, **blocked}, {"number": 3, **lane}],
        }
    ]


@pytest.mark.parametrize("sees_words", [True, False])
def test_the_status_has_the_history_of_a_mapping_and_the_numbers_of_its_function(sees_words: bool) -> None:
    handler = ChildProcess(command=("a",), handler="signup:store", environment={}, directory="/")
    arn = Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:store")
    store = Function(name=STORE, arn=arn, kind=handler, timeout_in_seconds=3, reserved_concurrency=20)
    durations = [10.0 if bound >= 1 else 0.0 for bound in BOUNDS_IN_SECONDS]
    line = LoggedLine(1_769_860_800.75, 4711, "to stdout")
    report = status_report(
        view(
            READY,
            viewer=Viewer(sees_words=sees_words),
            histories={READY.mapping: MappingHistory([1.0, 2.0], [0.0, 1.0], [3.0, 4.0], durations)},
            functions=(store, replace(store, name=FunctionName("unused"), kind=HttpService(urls=("http://a",)))),
            function_statuses={STORE: FunctionStatus(STORE, 3, 7, 12, 2, 1, (ChildStatus(4711, True, 9.5),), (line,))},
            failed_children={STORE: 6},
        )
    )
    answers.Status.model_validate(report)
    assert report["mappings"]["orders"]["last_30_minutes"] == {
        "interval_in_seconds": INTERVAL_IN_SECONDS,
        "records": [1, 2],
        "failed": [0, 1],
        "throttles": 7,
        "invocations": 10,
        "p50_in_seconds": 0.75,
        "p99_in_seconds": 0.995,
    }
    assert report["functions"] == {
        "store": {
            "running": 3,
            "waiting": 7,
            "limit": 12,
            "children": {
                "running": 2,
                "busy": 1,
                "failed": 6,
                "first": [{"pid": 4711, "is_busy": True, "age_in_seconds": 9.5}],
            },
            "log": [{"at": "2026-01-31T12:00:00Z", "pid": 4711, "text": "to stdout"}] if sees_words else None,
            "last_30_minutes": {"throttles": 7, "invocations": 10, "p50_in_seconds": 0.75, "p99_in_seconds": 0.995},
        },
        "unused": {
            "running": 0,
            "waiting": 0,
            "limit": 20,
            "children": None,
            "log": [] if sees_words else None,
            "last_30_minutes": {"throttles": 0, "invocations": 0, "p50_in_seconds": None, "p99_in_seconds": None},
        },
    }


async def test_the_status_tells_how_many_child_processes_failed_and_what_the_function_does() -> None:
    telemetry = Telemetry()
    telemetry.begin_function(STORE)
    reasons: tuple[Literal["idle", "timeout", "exit", "reload"], ...] = ("idle", "timeout", "exit", "exit", "reload")
    for reason in reasons:
        telemetry.emit(ChildProcessStopped(STORE, 4711, reason, None))
    arn = Arn.parse("arn:aws:lambda:eu-west-1:123456789012:function:store")
    handler = ChildProcess(command=("a",), handler="signup:store", environment={}, directory="/")
    store = Function(name=STORE, arn=arn, kind=handler, timeout_in_seconds=3, reserved_concurrency=20)
    page = PageSources(functions=lambda: [store], function_statuses=lambda: [FunctionStatus(STORE, 3, 7, 12)])
    pages = Pages(telemetry.registry, lambda: [READY], page=page)
    async with (
        serve(("127.0.0.1", 0), pages, access=Access, changes=FakeChanges(), emit=no_log) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
        client.get("/api/status") as answer,
    ):
        shown = (await answer.json())["functions"]["store"]
    assert (shown["running"], shown["waiting"], shown["limit"], shown["children"]["failed"]) == (3, 7, 12, 3)
