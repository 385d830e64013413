"""How long has this host run? The clock of leases counts also while the host sleeps.

A lease can expire while the host of its worker sleeps. If the clock stopped during the sleep, the worker would deliver
without a lease. So Linux's CLOCK_BOOTTIME is used (clock_getres(2)), and CLOCK_MONOTONIC on other systems.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio

LONGEST_SLEEP_IN_SECONDS = 1.0
"""How late a task may notice that the host has slept. The timers of the event loop stop while the host sleeps."""


def boot_time() -> float:
    """Return the seconds since the host was started, or since another fixed moment."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class BootClock:
    """Implements `ports.MonotonicClock` with the clock of this host."""

    def __init__(self, read: Callable[[], float] = boot_time) -> None:
        self._read = read

    def now(self) -> float:
        return self._read()

    async def sleep_until(self, moment: float) -> None:
        """Sleep until the clock has reached this moment, at most a second longer if the host has slept."""
        while True:
            left = moment - self._read()
            await anyio.sleep(max(0.0, min(left, LONGEST_SLEEP_IN_SECONDS)))
            if self._read() >= moment:
                return
