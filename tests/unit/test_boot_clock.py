"""Does the clock of leases count while the host sleeps, and do sleepers notice it?"""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.boot_clock import BootClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Host:
    """A host whose event loop stops while it sleeps."""

    def __init__(self) -> None:
        self.slept = 0.0

    def boot_time(self) -> float:
        return anyio.current_time() + self.slept


async def test_a_task_that_sleeps_wakes_within_a_second_after_the_host_has_slept() -> None:
    host, woke = Host(), list[float]()

    async def sleep() -> None:
        clock = BootClock(host.boot_time)
        await clock.sleep_until(clock.now() + 60)
        woke.append(anyio.current_time())

    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleep)
        await anyio.sleep(10.25)
        host.slept = 3600.0
    assert 10.25 <= woke[0] - begun <= 11.25


async def test_a_task_sleeps_exactly_until_the_moment_if_the_host_does_not_sleep() -> None:
    clock = BootClock(Host().boot_time)
    begun = clock.now()
    await clock.sleep_until(begun + 7.5)
    assert clock.now() == pytest.approx(begun + 7.5)


async def test_a_moment_that_has_passed_returns_after_one_turn_of_the_event_loop() -> None:
    clock = BootClock(Host().boot_time)
    begun = clock.now()
    await clock.sleep_until(begun - 5)
    assert clock.now() == begun


def test_the_clock_of_this_host_never_goes_back() -> None:
    clock = BootClock()
    before, monotonic = clock.now(), time.monotonic()
    assert monotonic - 1 <= before <= clock.now()
