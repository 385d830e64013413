from __future__ import annotations

import threading

import anyio
import pytest

from poller.admin.rendering import Rendering

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Made:
    """Numbered pages. `threads` has the threads that made them; no page is finished before `may_end` is set."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.begun = anyio.Event()
        self.may_end = threading.Event()

    def __call__(self) -> bytes:
        self.threads.append(threading.get_ident())
        number = len(self.threads)
        anyio.from_thread.run_sync(self.begun.set)
        assert self.may_end.wait(10)
        return b"%d" % number


async def test_a_page_is_rendered_outside_the_event_loop() -> None:
    made = Made()
    made.may_end.set()
    assert await Rendering(made).get() == b"1"
    assert threading.get_ident() not in made.threads


async def test_waiting_requests_share_one_page_and_a_later_request_gets_a_newer_one() -> None:
    made, pages = Made(), []
    rendering = Rendering(made)

    async def ask() -> None:
        pages.append(await rendering.get())

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await made.begun.wait()
        for _ in range(20):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        made.may_end.set()
    assert pages == [b"1"] + [b"2"] * 20
    assert await rendering.get() == b"3"


async def test_a_recent_page_is_used_again() -> None:
    made = Made()
    made.may_end.set()
    rendering = Rendering(made, maximum_age_in_seconds=3600)
    assert [await rendering.get() for _ in range(3)] == [b"1"] * 3


async def test_a_page_that_could_not_be_rendered_is_rendered_again_for_the_next_request() -> None:
    failures = [ValueError("no page")]

    def make() -> bytes:
        if failures:
            raise failures.pop()
        return b"page"

    rendering = Rendering(make, maximum_age_in_seconds=3600)
    with pytest.raises(ValueError, match="no page"):
        await rendering.get()
    assert await rendering.get() == b"page"


async def test_each_rendering_begins_with_the_present_values() -> None:
    order: list[str] = []

    async def refresh() -> None:
        order.append("refresh")

    def make() -> bytes:
        order.append("make")
        return b""

    rendering = Rendering(make, refresh, maximum_age_in_seconds=3600)
    await rendering.get()
    await rendering.get()
    assert order == ["refresh", "make"]
