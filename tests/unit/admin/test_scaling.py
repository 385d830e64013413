"""What does the daemon tell an autoscaler over HTTP?"""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from poller.admin.guard import Access
from poller.admin.server import Pages, serve
from poller.core.backlog import Known
from poller.model.backlog import Backlog, UnknownBacklog
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges

pytestmark = pytest.mark.anyio

SOME, MORE = Backlog(12.5, 4, 120), Backlog(30.0, 2, 100)
UNKNOWN = UnknownBacklog("mapping clicks is troubled")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class FakeBacklogs:
    async def of_daemon(self) -> Known:
        return UNKNOWN

    async def of_mapping(self, name: str) -> Known | None:
        return {"orders": SOME}.get(name)

    async def of_function(self, name: str) -> Known | None:
        return {"store": MORE}.get(name)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/mappings/orders", 200, {"seconds_to_catch_up": 12.5, "shards": 4, "messages_waiting": 120}),
        ("/functions/store", 200, {"seconds_to_catch_up": 30.0, "shards": 2, "messages_waiting": 100}),
        ("", 503, {"error": "mapping clicks is troubled"}),
        ("/mappings/store", 404, {"error": "there is no such mapping, or no mapping that invokes the function"}),
        ("/functions/orders", 404, {"error": "there is no such mapping, or no mapping that invokes the function"}),
    ],
)
async def test_an_autoscaler_gets_the_backlog_or_the_reason_why_it_is_unknown(
    path: str, status: int, body: object
) -> None:
    pages, changes = Pages(Telemetry().registry, list, FakeBacklogs()), FakeChanges()
    async with (
        serve(("127.0.0.1", 0), pages, access=Access, changes=changes, emit=changes.facts.append) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
        client.get(f"/api/scaling{path}") as received,
    ):
        assert (received.status, await received.json()) == (status, body)
