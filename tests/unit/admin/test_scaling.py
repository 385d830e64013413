"""What does the daemon tell an autoscaler over HTTP?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from poller.admin import answers
from poller.admin.guard import Access
from poller.admin.scaling import read_queues
from poller.admin.server import Pages, serve
from poller.core.backlog import Known, KnownDepth
from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.ids import MappingName
from poller.model.status import MappingStatus, QueueStatus
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.unit.admin.test_page import QUEUE

pytestmark = pytest.mark.anyio

SOME, MORE = Backlog(12.5, 4, 120, 7), Backlog(30.0, 2, 100)
DEPTHS: dict[MappingName, KnownDepth] = {
    MappingName("orders"): QueueDepth(visible=120, in_flight=8, delayed=2),
    MappingName("bills"): UnknownBacklog("GetQueueAttributes: no such queue"),
}
NO_WORK = {"error": "there is no such mapping, or no mapping invokes the function and it has no events"}
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

    async def depths(self) -> Mapping[MappingName, KnownDepth]:
        return DEPTHS


@asynccontextmanager
async def serving(*statuses: MappingStatus) -> AsyncIterator[ClientSession]:
    pages, changes = Pages(Telemetry().registry, lambda: statuses, FakeBacklogs()), FakeChanges()
    async with (
        serve(("127.0.0.1", 0), pages, access=Access, changes=changes, emit=changes.facts.append) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        (
            "/mappings/orders",
            200,
            {"seconds_to_catch_up": 12.5, "shards": 4, "messages_waiting": 120, "events_waiting": 7},
        ),
        (
            "/functions/store",
            200,
            {"seconds_to_catch_up": 30.0, "shards": 2, "messages_waiting": 100, "events_waiting": 0},
        ),
        ("", 503, {"error": "mapping clicks is troubled"}),
        (
            "/mappings/store",
            404,
            NO_WORK,
        ),
        (
            "/functions/orders",
            404,
            NO_WORK,
        ),
    ],
)
async def test_an_autoscaler_gets_the_backlog_or_the_reason_why_it_is_unknown(
    path: str, status: int, body: object
) -> None:
    async with serving() as client, client.get(f"/api/scaling{path}") as received:
        assert (received.status, await received.json()) == (status, body)


async def test_the_messages_of_the_queues_are_told_or_the_reason_why_they_are_unknown() -> None:
    unknown = {"visible": None, "in_flight": None, "delayed": None, "unknown": "GetQueueAttributes: no such queue"}
    known = {"visible": 120, "in_flight": 8, "delayed": 2, "unknown": None}
    async with serving() as client, client.get("/api/queues") as received:
        body = await received.json()
    answers.Queues.model_validate(body)
    assert body == {"queues": {"orders": known, "bills": unknown}}
    assert read_queues(body) == DEPTHS


async def test_the_status_of_a_mapping_has_the_messages_of_its_queue_and_the_age_of_the_oldest_in_hand() -> None:
    orders = QUEUE._replace(queue=QueueStatus(oldest_age_in_seconds=3.5))
    other = QUEUE._replace(mapping=MappingName("other"), queue=QueueStatus())
    async with serving(orders, other) as client, client.get("/api/status") as received:
        body = await received.json()
    answers.Status.model_validate(body)
    assert body["mappings"]["orders"]["queue"] == {
        "visible": 120,
        "in_flight": 8,
        "delayed": 2,
        "unknown": None,
        "oldest_in_hand_age_in_seconds": 3.5,
    }
    assert body["mappings"]["other"]["queue"] == {
        "visible": None,
        "in_flight": None,
        "delayed": None,
        "unknown": "nobody has asked the queue",
        "oldest_in_hand_age_in_seconds": None,
    }


async def test_the_page_asks_the_queues_and_shows_their_messages() -> None:
    async with serving(QUEUE) as client, client.get("/") as received:
        assert "120 visible" in await received.text()
