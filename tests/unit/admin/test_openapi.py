"""Does the description of the API say what the server does?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from poller.admin import answers
from poller.admin.guard import Access
from poller.admin.openapi import PATH, document
from poller.admin.page.view import Viewer
from poller.admin.readiness import readiness, shards_report
from poller.admin.server import Pages, serve
from poller.admin.status_report import status_report
from poller.model.ids import MappingName
from poller.model.status import EventsStatus, LastError, QueueStatus, WorkerStatus
from poller.telemetry.telemetry import Telemetry
from tests.fakes.changes import FakeChanges
from tests.unit.admin.test_page import QUEUE, READING, STREAM, view

STATUSES = (
    QUEUE._replace(last_error=LastError(0.0, "KeyError", "'email'"), queue=QueueStatus(3.5)),
    STREAM,
    READING._replace(mapping=MappingName("reading")),
    QUEUE._replace(mapping=MappingName("store:events"), events=EventsStatus(1, 2, 3, 4.5)),
)
WORKERS = (WorkerStatus(1, "ready", None, 4711, 0.0, 0), WorkerStatus(2, "ended", "it was killed", None, 0.0, 3))


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[ClientSession, FakeChanges]]:
    changes = FakeChanges()
    pages = Pages(Telemetry().registry, lambda: STATUSES)
    async with (
        serve(("127.0.0.1", 0), pages, access=Access, changes=changes, emit=changes.facts.append) as (host, port),
        ClientSession(f"http://{host}:{port}") as client,
    ):
        yield client, changes


@pytest.mark.slow
def test_the_document_is_valid_openapi() -> None:
    pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed").validate(document())


@pytest.mark.anyio
async def test_the_document_is_served_without_the_pages_that_this_server_does_not_have() -> None:
    async with serving() as (client, _), client.get(PATH) as answer:
        served: dict[str, Any] = await answer.json()
    optional = ("/api/scaling", "/api/queues")
    assert {path for path in document()["paths"] if not path.startswith(optional)} == set(served["paths"])
    assert "BacklogNumbers" not in served["components"]["schemas"]


@pytest.mark.anyio
async def test_each_call_of_the_document_is_served_and_no_other_method() -> None:
    async with serving() as (client, _), client.get(PATH) as description:
        for path, methods in (await description.json())["paths"].items():
            [method] = methods
            async with client.request(method, path, params={"mapping": "clicks"}) as answer:
                assert str(answer.status) in methods[method]["responses"], path
            async with client.request("DELETE", path) as answer:
                assert answer.status == 405
                assert method.upper() in answer.headers["Allow"].split(",")
                answers.Failure.model_validate(await answer.json())


@pytest.mark.parametrize("sees_words", [True, False])
def test_each_answer_has_the_members_that_the_document_says(sees_words: bool) -> None:
    for workers in ((), WORKERS):
        answers.Readiness.model_validate(readiness(STATUSES, workers, sees_words=sees_words))
        reader = view(*STATUSES, viewer=Viewer(sees_words=sees_words), workers=workers)
        answers.Status.model_validate(status_report(reader))
    shards = shards_report("clicks", STATUSES, sees_words=sees_words)
    assert len(answers.BlockedShards.model_validate(shards).blocked) == 1


def test_a_body_that_the_document_requires_is_refused_if_it_is_empty() -> None:
    bodies = {path: method["post"]["requestBody"] for path, method in document()["paths"].items() if "post" in method}
    assert {path: body["required"] for path, body in bodies.items()} == {
        "/api/reload": False,
        "/api/pause": True,
        "/api/resume": True,
        "/api/shard": True,
        "/api/position": True,
        "/api/event": True,
    }


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
