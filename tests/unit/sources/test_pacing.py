from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import AccessDenied, Throttled, Unreachable
from poller.sources.pacing import TRIES, TRIES_WITHOUT_ANSWER, Pace, PacedClient
from tests.fakes.clock import service_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Service:
    """A service that answers at once, first with its script, and notes the time of each request."""

    def __init__(self, *errors: Exception) -> None:
        self.clock = service_clock()
        self.calls: list[tuple[float, str, bytes]] = []
        self._errors = list(errors)

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        self.calls.append((anyio.current_time(), operation, body))
        if self._errors:
            raise self._errors.pop(0)
        return {"timeout": timeout_in_seconds}

    @property
    def moments(self) -> list[float]:
        return [at for at, *_ in self.calls]


def throttled(retry_after: float | None = None) -> Throttled:
    return Throttled("Rate exceeded", code="LimitExceededException", retry_after=retry_after)


def pace(calls_in_a_second: float = 10) -> Pace:
    return Pace("DescribeStream", Random(1), calls_in_a_second=calls_in_a_second)


async def test_all_requests_of_a_pace_share_its_rate() -> None:
    service, shared = Service(), pace()

    async def list_five_pages() -> None:
        client = PacedClient(service, shared)
        for _ in range(5):
            assert await client.call("DescribeStream", b"{}", timeout_in_seconds=3) == {"timeout": 3}

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(list_five_pages)
    assert [moment - began for moment in service.moments] == pytest.approx([number / 10 for number in range(20)])


async def test_a_pace_that_was_not_used_for_a_while_allows_no_burst() -> None:
    service = Service()
    client = PacedClient(service, pace())
    await anyio.sleep(100)
    began = anyio.current_time()
    for _ in range(3):
        await client.call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert [moment - began for moment in service.moments] == pytest.approx([0, 0.1, 0.2])


async def test_other_operations_do_not_wait_and_are_not_tried_again() -> None:
    service = Service()
    client = PacedClient(service, pace())
    began = anyio.current_time()
    for _ in range(20):
        await client.call("GetRecords", b"{}", timeout_in_seconds=3)
    assert anyio.current_time() == began
    with pytest.raises(Throttled):
        await PacedClient(Service(throttled()), pace()).call("GetRecords", b"{}", timeout_in_seconds=3)
    assert client.clock is service.clock


@pytest.mark.parametrize(("asked_for", "least", "most"), [(None, 0.25, 0.5), (7.0, 7.0, 7.0)])
async def test_a_throttled_page_is_requested_again_later_and_meanwhile_no_page_is_requested(
    asked_for: float | None, least: float, most: float
) -> None:
    service, shared = Service(throttled(asked_for)), pace()

    async def ask(body: bytes, after: float) -> None:
        await anyio.sleep(after)
        await PacedClient(service, shared).call("DescribeStream", body, timeout_in_seconds=3)

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, b"first", 0)
        group.start_soon(ask, b"other", 0.15)
    assert [body for _, _, body in service.calls] == [b"first", b"first", b"other"]
    _, again, other = [moment - began for moment in service.moments]
    assert least <= again <= most
    assert other == pytest.approx(again + 0.1)


async def test_a_page_that_stays_throttled_is_given_up_after_half_a_minute() -> None:
    service = Service(*[throttled() for _ in range(TRIES)])
    began = anyio.current_time()
    with pytest.raises(Throttled):
        await PacedClient(service, pace()).call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert len(service.calls) == TRIES
    assert 15 < anyio.current_time() - began < 45


async def test_a_long_pause_that_the_service_asks_for_is_kept_and_raised() -> None:
    """Ten such pauses would be most of an hour without a word from the mapping."""
    service = Service(throttled(300.0))
    client = PacedClient(service, pace())
    began = anyio.current_time()
    with pytest.raises(Throttled):
        await client.call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert anyio.current_time() - began < 1
    await client.call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert anyio.current_time() - began == pytest.approx(300)


def lost() -> Unreachable:
    return Unreachable("lost", code="ConnectionLost", was_sent=True)


async def test_a_page_without_an_answer_is_requested_again_and_the_others_keep_their_turns() -> None:
    service, shared = Service(lost(), lost()), pace()
    began = anyio.current_time()

    async def another() -> None:
        await anyio.sleep(0.05)
        await PacedClient(service, shared).call("DescribeStream", b"another", timeout_in_seconds=3)

    async with anyio.create_task_group() as group:
        group.start_soon(another)
        assert await PacedClient(service, shared).call("DescribeStream", b"page 7", timeout_in_seconds=3)
    asked = [(round(at - began, 1), body) for at, _, body in service.calls]
    assert asked[:2] == [(0.0, b"page 7"), (0.1, b"another")], "the other one does not wait"
    assert [body for _, body in asked].count(b"page 7") >= 2


async def test_a_page_that_gets_no_answer_three_times_is_given_up() -> None:
    service = Service(*(lost() for _ in range(9)))
    with pytest.raises(Unreachable):
        await PacedClient(service, pace()).call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert len(service.calls) == TRIES_WITHOUT_ANSWER == 3


async def test_any_other_error_is_raised_unchanged() -> None:
    service = Service(AccessDenied("no", code="AccessDeniedException"))
    with pytest.raises(AccessDenied):
        await PacedClient(service, pace()).call("DescribeStream", b"{}", timeout_in_seconds=3)
    assert len(service.calls) == 1
