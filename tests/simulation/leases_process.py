"""What is one worker's process in a simulation of leases? It has a clock of its own, and can be paused or killed.

    clock    has a rate and an offset of its own, so no two workers agree on the time
    pause    SIGSTOP: whatever the process waits for, it goes on only after SIGCONT, and its clock has gone on meanwhile
    crash    kill -9: from this moment on, no call of the process reaches anything

All that a process does outside its own memory waits in `turn`: a call of the table, a sleep, an invocation.
"""

from __future__ import annotations

from collections.abc import Collection

import anyio

from poller.model.lease import Row, RowKey
from poller.ports import LeaseStore
from tests.simulation.process import Killed


class WorkerProcess:
    """One process. `pauses` are the times from each SIGSTOP to its SIGCONT, on anyio's clock."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pauses: list[tuple[float, float]] = []
        self.died_at: float | None = None
        self.scope = anyio.CancelScope()
        self._paused_at: float | None = None
        self._goes_on = anyio.Event()

    @property
    def is_paused(self) -> bool:
        return self._paused_at is not None

    def pause(self) -> None:
        if self._paused_at is None:
            self._paused_at = anyio.current_time()
            self._goes_on = anyio.Event()

    def resume(self) -> None:
        if self._paused_at is not None:
            self.pauses.append((self._paused_at, anyio.current_time()))
            self._paused_at = None
            self._goes_on.set()

    def crash(self) -> None:
        self.died_at = anyio.current_time()
        self.resume()
        self.scope.cancel()

    async def turn(self) -> None:
        """Wait while the process is paused, even if cancelled. Raises Killed if the process is dead."""
        with anyio.CancelScope(shield=True):
            while self.is_paused:
                await self._goes_on.wait()
        if self.died_at is not None:
            raise Killed

    def was_paused_between(self, start: float, end: float) -> bool:
        """Return whether the process was paused for a part of this time."""
        pauses = [*self.pauses, *([] if self._paused_at is None else [(self._paused_at, anyio.current_time())])]
        return any(began <= end and ended >= start for began, ended in pauses)


class ProcessClock:
    """`ports.MonotonicClock` of one process: it shows `offset` + `rate` * (anyio's time)."""

    def __init__(self, process: WorkerProcess, *, rate: float = 1.0, offset: float = 0.0) -> None:
        self.rate = rate
        self._process = process
        self._offset = offset

    def now(self) -> float:
        return self._offset + self.rate * anyio.current_time()

    def jump(self, seconds: float) -> None:
        """Let the host sleep for this time. The sleeps of its processes last as long as without that."""
        self._offset += seconds

    async def sleep_until(self, moment: float) -> None:
        try:
            await anyio.sleep(max(0.0, (moment - self.now()) / self.rate))
        finally:
            await self._process.turn()


class ProcessLeaseStore:
    """`ports.LeaseStore` of one process."""

    def __init__(self, process: WorkerProcess, store: LeaseStore) -> None:
        self._process = process
        self._store = store

    async def scan(self) -> list[Row]:
        await self._process.turn()
        try:
            return await self._store.scan()
        finally:
            await self._process.turn()

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        await self._process.turn()
        try:
            return await self._store.read(keys)
        finally:
            await self._process.turn()

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        await self._process.turn()
        try:
            return await self._store.create(*groups)
        finally:
            await self._process.turn()

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        await self._process.turn()
        try:
            return await self._store.update(rows)
        finally:
            await self._process.turn()

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        await self._process.turn()
        try:
            return await self._store.delete(rows)
        finally:
            await self._process.turn()
