"""How does the worker call the table? It waits for an answer for less time than a lease lasts.

A call without an answer may have had its effect. Until the table answers another write, the worker takes nothing (R6).
After a failure, the worker pauses, so that many workers do not burden a slow table. Each kind of work pauses separately
(`health.py`).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import anyio

from poller.engine.leases.health import TableHealth, Work
from poller.errors import ServiceError, Unreachable
from poller.facts import Emit
from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore, MonotonicClock

T = TypeVar("T")

CALL_LIMIT_IN_SECONDS = 3.0
"""How long a call of the table may take. After one such call, a lease can still be renewed before its deadline.

A call that creates several groups of rows may take this time for each group."""

SCAN_LIMIT_IN_SECONDS = 10.0
"""How long a scan may take."""


class Table:
    """The table of leases as one worker calls it, with the methods of `ports.LeaseStore`.

    Each method raises Unreachable if no answer comes in time, or the store's ServiceError.
    """

    def __init__(self, store: LeaseStore, *, clock: MonotonicClock, randomness: random.Random, emit: Emit) -> None:
        self.clock = clock
        self.health = TableHealth(clock, randomness=randomness, emit=emit)
        self.answers_writes = True
        """False from an update that was sent and got no answer, until an update succeeds. A rejection is a success."""
        self._store = store

    async def scan(self) -> list[Row]:
        return await self._bounded(self._store.scan(), limit=SCAN_LIMIT_IN_SECONDS)

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        return await self._bounded(self._store.read(keys))

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        return await self._bounded(self._store.create(*groups), limit=CALL_LIMIT_IN_SECONDS * len(groups))

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        try:
            rejected = await self._bounded(self._store.update(rows))
        except Unreachable as error:
            self.answers_writes = self.answers_writes and not error.was_sent
            raise
        self.answers_writes = True
        return rejected

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return await self._bounded(self._store.delete(rows))

    async def pause(self, work: Work, error: ServiceError) -> None:
        """Report that a kind of work has failed, and wait before it is tried again."""
        await self.clock.sleep_until(self.clock.now() + self.health.failed(work, error))

    async def until_done(self, work: Work, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the call until it succeeds, and return its answer."""
        while True:
            try:
                answer = await call()
            except ServiceError as error:
                await self.pause(work, error)
            else:
                self.health.succeeded(work)
                return answer

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
            return await call
        raise Unreachable(f"the table of leases has not answered for {limit:g} s", code="NoAnswer", was_sent=True)
