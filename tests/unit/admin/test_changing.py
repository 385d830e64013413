"""How does a client change the daemon, and which clients may do it?"""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, UnixConnector

from poller.admin.changing import MAXIMUM_BODY_BYTES
from poller.admin.connections import MAXIMUM_CONNECTIONS
from poller.admin.guard import NO_TOKEN_IS_SET, WRONG_TOKEN, Access
from poller.admin.server import Pages, serve, serve_control
from poller.errors import CannotChange, InUse, PartlyChanged, SettingsError
from poller.facts import ChangeMade
from poller.model.ids import FunctionName, MappingName
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder
from poller.model.stream import SequenceNumber, ShardId
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges

pytestmark = pytest.mark.anyio

OPEN = Access()
WITH_TOKEN = Access(admin_token="s3cret", hosts=["poller.internal"])
RIGHT = {"Authorization": "Bearer s3cret"}
OF_ANOTHER_SITE: Sequence[dict[str, str]] = [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(
    changes: FakeChanges, *, access: Access = OPEN, host: str = "127.0.0.1"
) -> AsyncIterator[ClientSession]:
    """Yield a client on loopback, for any listening address of the server."""
    async with (
        serve(
            (host, 0),
            Pages(Telemetry().registry, list),
            access=lambda: access,
            changes=changes,
            emit=changes.facts.append,
        ) as (_, port),
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def answer(client: ClientSession, body: str | bytes = b"", **headers: str) -> tuple[int, Any]:
    async with client.post("/api/reload", data=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def test_a_reload_is_answered_with_what_changed() -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        assert await answer(client) == (200, changes.report)
        assert await answer(client, '{"settings": "/etc/poller.toml"}') == (200, changes.report)
    assert changes.asked == [(None, None), (None, "/etc/poller.toml")]


async def test_a_restart_request_restarts_the_child_processes_of_its_function() -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        assert await answer(client, '{"function": "store", "settings": "/p.toml"}') == (200, changes.report)
    assert changes.asked == [("store", "/p.toml")]


@pytest.mark.parametrize("body", ["{", "[]", '"store"', '{"functions": "store"}', '{"function": 7}', b"\xff"])
async def test_a_request_body_of_another_shape_changes_nothing(body: str | bytes) -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        status, document = await answer(client, body)
    assert status == 400
    assert document["error"].startswith("the body must be a JSON object")
    assert changes.asked == []


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_mapping_is_paused_and_resumed(what: str) -> None:
    changes = FakeChanges()
    async with (
        serving(changes) as client,
        client.post(f"/api/{what}", data='{"mapping": "orders", "settings": "/p.toml"}') as reply,
    ):
        assert (reply.status, await reply.json()) == (200, changes.report)
    assert changes.asked == [(f"{what} orders", "/p.toml")]


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"mapping": 7}', '{"mapping": "a", "function": "f"}'])
@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_pause_without_a_mapping_changes_nothing(what: str, body: str) -> None:
    changes = FakeChanges()
    async with serving(changes) as client, client.post(f"/api/{what}", data=body) as reply:
        assert reply.status == 400
        assert (await reply.json())["error"].startswith("the body must be a JSON object with mapping")
    assert changes.asked == []


async def test_a_pause_that_the_daemon_refuses_says_why() -> None:
    changes = FakeChanges()
    changes.error = CannotChange("there is no mapping orders")
    async with serving(changes) as client, client.post("/api/pause", data='{"mapping": "orders"}') as reply:
        assert (reply.status, await reply.json()) == (409, {"error": "there is no mapping orders"})


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_pause_needs_the_token_as_every_change_does(what: str) -> None:
    changes = FakeChanges()
    async with serving(changes, access=WITH_TOKEN) as client:
        async with client.post(f"/api/{what}", data='{"mapping": "orders"}') as reply:
            assert reply.status == WRONG_TOKEN.status
        for headers in OF_ANOTHER_SITE:
            async with client.post(f"/api/{what}", data='{"mapping": "orders"}', headers=headers | RIGHT) as reply:
                assert reply.status == 403
    assert changes.asked == []


ORDER = {
    "mapping": "clicks",
    "shard": "shardId-000000000003",
    "action": "discard",
    "start_sequence_number": "1",
    "end_sequence_number": "2",
}


async def test_an_order_about_a_blocked_shard_reaches_the_daemon_with_the_batch_that_it_names() -> None:
    changes = FakeChanges()
    changes.report = {"reason": "KeyError", "blocked_since": "2026-01-31T12:00:00Z", "records": 2}
    async with serving(changes) as client:
        async with client.post("/api/shard", json=ORDER | {"settings": "/p.toml"}) as reply:
            assert (reply.status, await reply.json()) == (200, changes.report)
        async with client.post("/api/shard", json=ORDER | dict.fromkeys(list(ORDER)[3:])) as reply:
            assert reply.status == 200
    assert changes.asked == [("order clicks", "/p.toml"), ("order clicks", None)]
    shard = ShardId("shardId-000000000003")
    assert changes.orders == [
        ShardOrder("discard", shard, SequenceNumber("1"), SequenceNumber("2")),
        ShardOrder("discard", shard, None, None),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {key: value for key, value in ORDER.items() if key != "end_sequence_number"},
        ORDER | {"action": "drop"},
        ORDER | {"start_sequence_number": 1},
        ORDER | {"records": 2},
    ],
)
async def test_an_order_that_does_not_name_its_batch_changes_nothing(body: dict[str, Any]) -> None:
    changes = FakeChanges()
    async with serving(changes) as client, client.post("/api/shard", json=body) as reply:
        assert reply.status == 400
        assert await reply.json() == {
            "error": "the body must be a JSON object with mapping, shard, action, start_sequence_number, "
            "end_sequence_number, and no other key than settings"
        }
    assert changes.asked == []


async def test_a_move_reaches_the_daemon_as_it_was_written() -> None:
    changes = FakeChanges()
    changes.report = {"before": "after 5", "shard": "s"}
    body = {"mapping": "clicks", "position": "4961", "shard": "s", "after": True, "version": "v1"}
    async with serving(changes) as client:
        for more in ({}, {"only_shows": True}):
            async with client.post("/api/position", json=body | more) as reply:
                assert (reply.status, await reply.json()) == (200, changes.report)
    order = MoveOrder("4961", ShardId("s"), is_after=True, version="v1")
    assert changes.moves == [order, order._replace(only_shows=True)]


@pytest.mark.parametrize("request_id", ["", 7, False])
async def test_an_event_needs_an_id_and_only_null_means_all(request_id: object) -> None:
    changes = FakeChanges()
    body = {"function": "store", "action": "drop", "request_id": request_id}
    async with serving(changes) as client:
        for wrong in (body, {"function": "store", "action": "drop"}, body | {"request_id": None, "action": "keep"}):
            async with client.post("/api/event", json=wrong) as reply:
                assert reply.status == 400
    assert changes.asked == []


async def test_each_change_that_is_made_is_logged_with_who_and_what_was_before() -> None:
    changes = FakeChanges()
    changes.report = {
        "was_paused": False,
        "reason": "KeyError",
        "blocked_since": "2026-01-31T12:00:00Z",
        "records": 2,
        "before": "after 5",
        "shard": None,
        "events": 4,
    }
    async with serving(changes) as client:
        for path, body in (
            ("pause", {"mapping": "orders"}),
            ("reload", {}),
            ("reload", {"function": "store"}),
            ("shard", ORDER),
            ("position", {"mapping": "clicks", "position": "LATEST"}),
            ("position", {"mapping": "clicks", "position": "LATEST", "only_shows": True}),
            ("event", {"function": "store", "action": "drop", "request_id": None}),
            ("event", {"function": "store", "action": "drop", "request_id": None, "drops_waiting": True}),
        ):
            async with client.post(f"/api/{path}", json=body) as reply:
                assert reply.status == 200
    by = "loopback, from 127.0.0.1"
    assert changes.facts == [
        ChangeMade("pause", by, "not paused", MappingName("orders")),
        ChangeMade("reload", by),
        ChangeMade("restart of the function store", by),
        ChangeMade(
            "discard",
            by,
            "blocked by KeyError since 2026-01-31T12:00:00Z",
            MappingName("clicks"),
            ORDER["shard"],
            2,
            "1",
            "2",
        ),
        ChangeMade("move to LATEST", by, "after 5", MappingName("clicks")),
        ChangeMade("drop of stuck events", by, "stuck", function=FunctionName("store"), events=4),
        ChangeMade("drop of stuck or waiting events", by, "stuck or waiting", function=FunctionName("store"), events=4),
    ]


@pytest.mark.parametrize(("was_paused", "change"), [(True, "resume"), (False, "pause")])
async def test_a_pause_of_a_paused_mapping_and_a_resume_of_another_one_are_no_changes(
    was_paused: bool, change: str
) -> None:
    changes = FakeChanges()
    changes.report = {"was_paused": was_paused}
    async with serving(changes) as client:
        for path in ("pause", "resume"):
            async with client.post(f"/api/{path}", json={"mapping": "orders"}) as reply:
                assert (reply.status, await reply.json()) == (200, {"was_paused": was_paused})
    before = "paused" if was_paused else "not paused"
    assert changes.facts == [ChangeMade(change, "loopback, from 127.0.0.1", before, MappingName("orders"))]


async def test_a_change_that_is_refused_is_not_logged_as_made() -> None:
    changes = FakeChanges()
    changes.error = CannotChange("there is no mapping orders")
    async with serving(changes) as client, client.post("/api/pause", json={"mapping": "orders"}) as reply:
        assert reply.status == 409
    assert changes.facts == []


async def test_a_change_that_some_workers_have_made_is_logged_with_those_that_have_not() -> None:
    changes = FakeChanges()
    changes.error = PartlyChanged("worker 2: it hangs", {"was_paused": False})
    async with serving(changes) as client, client.post("/api/pause", json={"mapping": "orders"}) as reply:
        assert (reply.status, await reply.json()) == (409, {"error": "worker 2: it hangs"})
    by = "loopback, from 127.0.0.1"
    made = ChangeMade("pause", by, "not paused", MappingName("orders"), incomplete="worker 2: it hangs")
    assert changes.facts == [made]


async def test_the_log_of_a_change_says_that_the_client_had_the_token() -> None:
    changes = FakeChanges()
    async with (
        serving(changes, access=WITH_TOKEN, host="0.0.0.0") as client,
        client.post("/api/reload", headers=RIGHT) as reply,
    ):
        assert reply.status == 200
    assert changes.facts == [ChangeMade("reload", "token, from 127.0.0.1")]


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not name the peer in this way")
async def test_the_log_of_a_change_names_the_user_and_the_process_at_the_control_socket(tmp_path: Path) -> None:
    changes, path = FakeChanges(), tmp_path / "poller.db-control"
    async with (
        serve_control([path], Pages(Telemetry().registry, list), changes=changes, emit=changes.facts.append),
        ClientSession("http://localhost", connector=UnixConnector(os.fspath(path))) as client,
    ):
        assert (await answer(client))[0] == 200
    assert changes.facts == [ChangeMade("reload", f"uid {os.getuid()}, pid {os.getpid()}")]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "unknown"])
async def test_a_body_with_a_content_encoding_is_refused_whatever_it_contains(encoding: str) -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        for body in (b"{}", gzip.compress(b"{}")):
            async with client.post(
                "/api/reload", data=body, headers={"Content-Encoding": encoding}, compress=False
            ) as reply:
                assert reply.status == 415
                assert await reply.json() == {"error": "the body must have no Content-Encoding"}
    assert changes.asked == []


async def test_a_body_in_chunks_is_refused_before_it_is_read() -> None:
    changes = FakeChanges()
    head = b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serving(changes) as client:
        assert client._base_url is not None
        async with await anyio.connect_tcp("127.0.0.1", client._base_url.port or 0) as stream:
            await stream.send(head)
            reply = b""
            with anyio.fail_after(5):
                while not reply.endswith(b"}\n"):
                    reply += await stream.receive()
    assert reply.startswith(b"HTTP/1.1 411 ")
    assert reply.endswith(b'{"error":"the body must have a Content-Length"}\n')
    assert changes.asked == []


async def test_a_large_request_body_is_refused() -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        status, _ = await answer(client, b" " * MAXIMUM_BODY_BYTES + b"{}")
    assert (status, changes.asked) == (413, [])


async def test_a_reload_of_a_faulty_file_is_answered_with_all_faults() -> None:
    changes = FakeChanges()
    changes.error = SettingsError(["a: one", "b: two"])
    async with serving(changes) as client:
        status, document = await answer(client)
    assert (status, document["faults"]) == (422, ["a: one", "b: two"])


async def test_a_change_that_is_impossible_now_is_answered_with_the_reason() -> None:
    changes = FakeChanges()
    changes.error = InUse("the daemon stops")
    async with serving(changes) as client:
        assert await answer(client) == (409, {"error": "the daemon stops"})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_a_post_request_changes_something(method: str) -> None:
    changes = FakeChanges()
    async with serving(changes) as client, client.request(method, "/api/reload") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert changes.asked == []


@pytest.mark.slow
async def test_a_change_may_take_longer_than_the_time_limit_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection of a page is aborted after its time; the change's connection outlives one that sends nothing."""
    monkeypatch.setattr("poller.admin.connections.LONGEST_SECONDS", 0.3)
    changes = FakeChanges()
    changes.go = anyio.Event()
    async with serving(changes) as client, anyio.create_task_group() as tasks:

        async def wait_for_the_next_to_be_aborted() -> None:
            await changes.is_asked.wait()
            port = client._base_url.port if client._base_url else 0
            async with await anyio.connect_tcp("127.0.0.1", port or 0) as idle:
                with anyio.fail_after(60), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await idle.receive()
            changes.go.set()

        tasks.start_soon(wait_for_the_next_to_be_aborted)
        assert (await answer(client))[0] == 200


async def test_a_change_that_waits_keeps_its_connection_though_many_others_come() -> None:
    changes = FakeChanges()
    changes.go = anyio.Event()
    async with serving(changes) as client, AsyncExitStack() as others, anyio.create_task_group() as tasks:

        async def come_and_send_nothing() -> None:
            await changes.is_asked.wait()
            port = client._base_url.port if client._base_url else 0
            for _ in range(MAXIMUM_CONNECTIONS):
                await others.enter_async_context(await anyio.connect_tcp("127.0.0.1", port or 0))
            async with client.get("/healthz") as reply:
                assert reply.status == 200
            changes.go.set()

        tasks.start_soon(come_and_send_nothing)
        assert (await answer(client))[0] == 200


@pytest.mark.parametrize("headers", OF_ANOTHER_SITE)
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/nothing", "/api/reload"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_from_a_page_of_another_site_is_refused(
    path: str, method: str, headers: dict[str, str]
) -> None:
    changes = FakeChanges()
    async with (
        serving(changes, access=WITH_TOKEN) as client,
        client.request(method, path, headers={**headers, **RIGHT}) as reply,
    ):
        assert reply.status == 403
        assert await reply.json() == {"error": "a page of another site sent this request"}
    assert changes.asked == []


async def test_our_own_page_may_request_a_change() -> None:
    changes = FakeChanges()
    async with serving(changes) as client:
        origin = f"http://127.0.0.1:{client._base_url.port if client._base_url else 0}"
        assert (await answer(client, Origin=origin, **{"Sec-Fetch-Site": "same-origin"}))[0] == 200


async def test_a_foreign_host_name_is_answered_with_421_before_any_other_check() -> None:
    changes = FakeChanges()
    async with serving(changes, access=WITH_TOKEN) as client:
        status, _ = await answer(client, Host="evil.example", Origin="http://evil.example", **RIGHT)
    assert (status, changes.asked) == (421, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_a_server_beyond_loopback_needs_a_token_even_from_local_clients(host: str) -> None:
    if host == "::" and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    changes = FakeChanges()
    async with serving(changes, host="0.0.0.0") as client:
        assert await answer(client, **RIGHT) == (403, {"error": NO_TOKEN_IS_SET.reason})
        async with client.get("/healthz") as reply:
            assert reply.status == 200
    async with serving(changes, host="0.0.0.0", access=WITH_TOKEN) as client:
        assert await answer(client) == (401, {"error": WRONG_TOKEN.reason})
        assert changes.asked == []
        assert (await answer(client, **RIGHT))[0] == 200


async def test_a_configured_token_is_needed_on_loopback_too() -> None:
    changes = FakeChanges()
    async with serving(changes, access=WITH_TOKEN) as client:
        async with client.post("/api/reload") as reply:
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert changes.asked == []
        assert (await answer(client, **RIGHT))[0] == 200


async def test_a_reload_may_change_the_token() -> None:
    changes, tokens = FakeChanges(), ["one"]
    async with (
        serve(
            ("127.0.0.1", 0),
            Pages(Telemetry().registry, list),
            access=lambda: Access(admin_token=tokens[-1]),
            changes=changes,
            emit=changes.facts.append,
        ) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        assert (await answer(client, Authorization="Bearer one"))[0] == 200
        tokens.append("two")
        assert (await answer(client, Authorization="Bearer one"))[0] == 401
        assert (await answer(client, Authorization="Bearer two"))[0] == 200


async def test_the_control_socket_needs_no_token(tmp_path: Path) -> None:
    changes, path = FakeChanges(), tmp_path / "poller.db-control"
    async with (
        serve_control([path], Pages(Telemetry().registry, list), changes=changes, emit=changes.facts.append),
        ClientSession("http://localhost", connector=UnixConnector(os.fspath(path))) as client,
    ):
        assert await answer(client, '{"function": "store"}') == (200, changes.report)
        async with client.get("/healthz") as reply:
            assert reply.status == 200
    assert changes.asked == [("store", None)]
    assert not path.exists()
