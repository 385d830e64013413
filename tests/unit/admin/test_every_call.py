"""Is every call that changes something guarded? The calls come from the API's own description, so none is forgotten.

Each call is sent once to a real server with a valid body, with something wrong beside it. Nothing may change.
The description has every route of the server that is not a GET, except for those of the page's forms. They are
guarded, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from poller.admin import server
from poller.admin.checking import Guard
from poller.admin.connections import Connections
from poller.admin.guard import Access
from poller.admin.openapi import document
from poller.admin.page.forms import CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH
from poller.admin.server import Pages, serve
from poller.admin.sessions import Sessions
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges

pytestmark = pytest.mark.anyio

TOKEN = "s3cret-t0ken"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
DOCUMENT = document()
PATHS: Mapping[str, Mapping[str, Any]] = DOCUMENT["paths"]
CALLS = sorted(path for path, methods in PATHS.items() if "post" in methods)
LISTS = sorted(path for path, methods in PATHS.items() if "security" in methods.get("get", {}))
FORMS = (CHANGE_PATH, LOGIN_PATH, LOGOUT_PATH)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(
    *, token: str | None = TOKEN, host: str = "0.0.0.0"
) -> AsyncIterator[tuple[ClientSession, FakeChanges]]:
    changes = FakeChanges()
    pages, access = Pages(Telemetry().registry, list), Access(admin_token=token, hosts=["poller.internal"])
    async with (
        serve((host, 0), pages, access=lambda: access, changes=changes, emit=changes.facts.append) as (_, port),
        ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client, changes
    assert changes.facts == []


def body_of(path: str) -> dict[str, Any]:
    """Return the smallest body that the description allows."""
    schema = PATHS[path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    model = DOCUMENT["components"]["schemas"][schema]
    return {name: _value(model["properties"][name]) for name in model.get("required", ())}


def _value(schema: Mapping[str, Any]) -> str:
    return str(schema.get("enum", ["1"])[0])


async def test_a_call_with_the_smallest_body_and_the_token_is_made() -> None:
    """If this body were wrong, the calls of the other tests would be refused for another reason."""
    for path in CALLS:
        changes = FakeChanges()
        changes.report = {
            "was_paused": path == "/api/resume",
            "reason": "r",
            "blocked_since": "t",
            "records": 1,
            "before": "b",
            "shard": "s",
            "events": 1,
        }
        async with (
            serve(
                ("0.0.0.0", 0),
                Pages(Telemetry().registry, list),
                access=lambda: Access(admin_token=TOKEN),
                changes=changes,
                emit=changes.facts.append,
            ) as (_, port),
            ClientSession(f"http://127.0.0.1:{port}") as client,
            client.post(path, json=body_of(path), headers=RIGHT) as answer,
        ):
            assert answer.status == 200, (path, await answer.text())
        assert len(changes.facts) == 1, path


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        (RIGHT | {"Origin": "http://evil.example"}, 403),
        (RIGHT | {"Origin": "null"}, 403),
        (RIGHT | {"Sec-Fetch-Site": "cross-site"}, 403),
        (RIGHT | {"Sec-Fetch-Site": "same-site"}, 403),
        (RIGHT | {"Host": "evil.example"}, 421),
        (RIGHT | {"Content-Encoding": "gzip"}, 415),
    ],
)
async def test_no_call_is_made_with_a_wrong_header(path: str, headers: dict[str, str], status: int) -> None:
    async with serving() as (client, changes), client.post(path, json=body_of(path), headers=headers) as answer:
        assert answer.status == status, await answer.text()
        await _cannot_be_framed(answer)
    assert changes.asked == []


@pytest.mark.parametrize("path", [*CALLS, *LISTS])
async def test_beyond_loopback_nothing_that_needs_a_right_works_without_a_token_in_the_settings(path: str) -> None:
    method = "POST" if path in CALLS else "GET"
    async with (
        serving(token=None) as (client, changes),
        client.request(method, path, json=body_of(path) if method == "POST" else None, headers=RIGHT) as answer,
    ):
        assert answer.status == 403
    assert changes.asked == []


@pytest.mark.parametrize("path", LISTS)
async def test_a_list_of_what_is_stored_needs_the_token(path: str) -> None:
    assert LISTS == ["/api/events", "/api/positions"]
    async with serving(host="127.0.0.1") as (client, changes):
        for headers, status in (({}, 401), (RIGHT | {"Origin": "http://evil.example"}, 403), (RIGHT, 200)):
            async with client.get(path, params={"mapping": "a", "function": "a"}, headers=headers) as answer:
                assert answer.status == status
        assert len(changes.asked) == 1


@pytest.mark.parametrize("path", FORMS)
async def test_no_form_of_another_site_is_accepted(path: str) -> None:
    async with serving(token=None, host="127.0.0.1") as (client, changes):
        for headers, status in (
            ({"Origin": "http://evil.example"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Host": "evil.example"}, 421),
        ):
            async with client.post(path, data={"call": "reload", "token": ""}, headers=headers) as answer:
                assert answer.status == status
                await _cannot_be_framed(answer)
    assert changes.asked == []


def test_a_route_that_is_not_described_and_is_no_form_only_shows_something() -> None:
    guard = Guard(Access, is_loopback=True, sessions=Sessions(lambda: 0.0))
    pages, connections = Pages(Telemetry().registry, list), Connections()
    application = server._application(pages, guard, FakeChanges(), connections, lambda _: None)
    changing = {
        route.resource.canonical
        for route in application.router.routes()
        if route.method not in ("GET", "HEAD") and route.resource
    }
    assert changing == {*CALLS, *FORMS}


async def _cannot_be_framed(answer: Any) -> None:
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
