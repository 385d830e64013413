"""How long does a worker wait for the table? Less than a lease lasts. A call without an answer may have had its effect.

After a failed call the worker waits for a moment, so that many workers do not burden a table that is too slow.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio

from poller.core.backoff import Backoff
from poller.errors import Unreachable
from poller.ports import MonotonicClock

T = TypeVar("T")

CALL_LIMIT_IN_SECONDS = 3.0
"""How long a call of the table may take. After one such call, a lease can still be renewed before its deadline."""

SCAN_LIMIT_IN_SECONDS = 10.0
"""How long a scan may take."""

TABLE = Backoff(initial=0.25, maximum=2.0)
"""The pause after a failed call. It is short, because a lease that is not renewed is lost after seconds."""


async def bounded(call: Awaitable[T], *, limit: float = CALL_LIMIT_IN_SECONDS) -> T:
    """Return the answer of the call. Raises Unreachable if none comes in time, or the error of the call."""
    with anyio.move_on_after(limit):
        return await call
    raise Unreachable(f"the table of leases has not answered for {limit:g} s", code="NoAnswer", was_sent=True)


async def wait_for(event: anyio.Event, *, until: float, clock: MonotonicClock) -> None:
    """Wait for the event, at most until this moment of the clock."""
    async with anyio.create_task_group() as group:

        async def end() -> None:
            await event.wait()
            group.cancel_scope.cancel()

        group.start_soon(end)
        await clock.sleep_until(until)
        group.cancel_scope.cancel()
