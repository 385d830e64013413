"""How does the worker call the table? It waits less long than a lease lasts, and pauses after a failed call.

A call without an answer may have had its effect. The pause lets many workers not burden a table that is too slow.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Collection
from typing import TypeVar

import anyio

from poller.core.backoff import Backoff
from poller.errors import LASTING, ServiceError, Unreachable
from poller.facts import Emit, LeaseTableFailed, LeaseTableRecovered
from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore, MonotonicClock

T = TypeVar("T")

CALL_LIMIT_IN_SECONDS = 3.0
"""How long a call of the table may take. After one such call, a lease can still be renewed before its deadline."""

SCAN_LIMIT_IN_SECONDS = 10.0
"""How long a scan may take."""

PAUSE = Backoff(initial=0.25, maximum=2.0)
"""The pause after a failed call. It is short, because a lease that is not renewed is lost after seconds."""


class Table:
    """The table of leases as one worker calls it, with the methods of `ports.LeaseStore`.

    Each method raises Unreachable if no answer comes in time, or the store's ServiceError.
    """

    def __init__(self, store: LeaseStore, *, clock: MonotonicClock, randomness: random.Random, emit: Emit) -> None:
        self.clock = clock
        self._store = store
        self._randomness = randomness
        self._emit = emit
        self._is_failing = False

    async def scan(self) -> list[Row]:
        return await self._bounded(self._store.scan(), limit=SCAN_LIMIT_IN_SECONDS)

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        return await self._bounded(self._store.read(keys))

    async def create(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._bounded(self._store.create(rows))

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._bounded(self._store.update(rows))

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._bounded(self._store.delete(rows))

    async def pause(self, error: ServiceError, *, failures: int) -> None:
        """Report a failed call, and wait before the next one. `failures` is the number of failures in a row."""
        delay = PAUSE.delay(failures, self._randomness)
        self._is_failing = True
        self._emit(LeaseTableFailed(error.code, str(error), delay, isinstance(error, LASTING)))
        await self.clock.sleep_until(self.clock.now() + delay)

    async def wait_for(self, event: anyio.Event, *, until: float) -> None:
        """Wait for the event, at most until this moment of the clock."""
        async with anyio.create_task_group() as group:

            async def end() -> None:
                await event.wait()
                group.cancel_scope.cancel()

            group.start_soon(end)
            await self.clock.sleep_until(until)
            group.cancel_scope.cancel()

    async def _bounded(self, call: Awaitable[T], *, limit: float = CALL_LIMIT_IN_SECONDS) -> T:
        with anyio.move_on_after(limit):
            answer = await call
            if self._is_failing:
                self._is_failing = False
                self._emit(LeaseTableRecovered())
            return answer
        raise Unreachable(f"the table of leases has not answered for {limit:g} s", code="NoAnswer", was_sent=True)
