"""Does the stop of the daemon reach each run, and does the stop of one run leave all other runs alone?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.stop import Stop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_a_stop_of_one_part_begins_alone() -> None:
    stop = Stop()
    with stop.part() as part, stop.part() as other:
        part.begin()
        assert part.has_begun
        assert not stop.has_begun
        assert not other.has_begun


async def test_the_stop_of_the_whole_begins_and_hurries_the_stop_of_every_part() -> None:
    stop = Stop()
    with stop.part() as part, stop.part() as other:
        stop.begin()
        assert part.has_begun
        assert not part.releasing.is_set()
        stop.hurry()
        assert other.releasing.is_set()
        with stop.part() as late:
            assert late.releasing.is_set()


async def test_a_part_that_has_left_gets_no_further_stop() -> None:
    stop = Stop()
    with stop.part() as part:
        pass
    stop.begin()
    assert not part.has_begun


async def test_the_first_of_several_faults_counts() -> None:
    stop = Stop()
    first = ZeroDivisionError()
    stop.fail(first)
    stop.fail(KeyError())
    assert stop.crash is first
    assert stop.has_begun


async def test_the_grace_begins_with_the_stop_and_at_its_end_the_stop_hurries() -> None:
    stop = Stop()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop.after_grace, 10.0)
        await anyio.sleep(5)
        stop.begin()
        await stop.releasing.wait()
        assert anyio.current_time() == 15


async def test_a_wait_for_an_event_ends_with_the_event_or_with_the_stop() -> None:
    stop, event, never = Stop(), anyio.Event(), anyio.Event()
    answers: list[bool] = []

    async def wait(for_event: anyio.Event) -> None:
        answers.append(await stop.before(for_event))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, event)
        await anyio.sleep(1)
        event.set()
        await anyio.sleep(1)
        assert answers == [True]
        tasks.start_soon(wait, never)
        await anyio.sleep(1)
        stop.begin()
    assert answers == [True, False]
    assert await stop.before(event)


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_stop_is_unclean_if_a_part_of_it_is_but_not_if_that_part_stopped_alone(is_whole: bool) -> None:
    stop = Stop()
    with stop.part() as part:
        (stop if is_whole else part).begin()
        part.is_unclean.set()
    assert stop.is_unclean.is_set() is is_whole
