"""What time is it in a test? The time of day that follows anyio's clock, which may be virtual."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from functools import lru_cache
from math import floor

import anyio

from poller.aws.clock import ServiceClock

EPOCH = 1_767_225_600.0
"""2026-01-01T00:00:00Z, the time of day when anyio's clock shows 0."""


class VirtualClock:
    """`ports.Clock` for tests. Under trio's MockClock it starts at EPOCH and follows the virtual time.

    The clock is ahead by `ahead` seconds.
    """

    def __init__(self, *, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return EPOCH + self.ahead + anyio.current_time()


class SteadyClock:
    """`ports.MonotonicClock` for tests. It shows anyio's time, which may be virtual."""

    def now(self) -> float:
        return anyio.current_time()

    async def sleep_until(self, moment: float) -> None:
        await anyio.sleep_until(moment)


def service_clock(ours: VirtualClock | None = None) -> ServiceClock:
    """Return a service's clock as seen by a process with the clock `ours`, which is correct by default."""
    return ServiceClock(ours=(ours or VirtualClock()).now, steady=anyio.current_time)


def date_header(epoch: float = EPOCH) -> str:
    """Return the Date header of an answer that a service writes now.

    `epoch` is the service's time of day when anyio's clock shows 0.
    """
    return _written(floor(epoch + anyio.current_time()))


@lru_cache(maxsize=16)
def _written(second: int) -> str:
    return formatdate(second, usegmt=True)


def jump(seconds: float) -> None:
    """Set the clock of the running event loop forward. Timers that are due by then fire in the loop's next turn.

    So a test can reach a long timeout at once. This works for asyncio's own loop, but not for uvloop.
    """
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]
