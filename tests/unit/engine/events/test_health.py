"""What is reported about the event queues and destinations of a function if several calls fail?"""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from poller.engine.events.health import EventHealth
from poller.errors import Rejected, Unreachable
from poller.facts import Fact
from poller.model.ids import FunctionName
from tests.fakes.clock import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_a_reason_names_three_troubles_and_counts_the_others_and_has_no_code_twice() -> None:
    facts: list[Fact] = []
    health = EventHealth(function=FunctionName("resize"), source="events", clock=VirtualClock(), emit=facts.append)
    for operation in ("take", "settle", "extend", "depth", "put"):
        error = Unreachable(f"Timeout: no answer to {operation}", code="Timeout", was_sent=True)
        health.queue_failed(operation, error, retry_in=2.0)
    assert health.health.reason == (
        "take: Timeout: no answer to take (events); settle: Timeout: no answer to settle (events); "
        "extend: Timeout: no answer to extend (events); and 2 more"
    )
    health.succeeded("take")
    health.succeeded("settle")
    health.queue_failed("extend", Unreachable("no answer", code="Timeout", was_sent=True), retry_in=2.0)
    assert health.health.reason is not None
    assert health.health.reason.startswith("extend: Timeout: no answer (events); ")


async def test_a_reason_names_an_error_of_several_operations_once() -> None:
    health = EventHealth(function=FunctionName("resize"), source="events", clock=VirtualClock(), emit=lambda _: None)
    for operation in ("take", "depth", "take"):
        error = Rejected("a newer version wrote the file", code="EventQueueUnusable")
        health.queue_failed(operation, error, retry_in=2.0)
    assert health.health.reason == "depth, take: EventQueueUnusable: a newer version wrote the file (events)"
