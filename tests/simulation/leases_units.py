"""How does one process keep to a function's concurrency that all workers share? Each invocation needs a unit.

A unit is a lease. The process waits for all units of the function, and uses those that it gets, one invocation each.
A unit that another worker wants is given away when its invocation has ended; if it is lost, the invocation is cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from poller.core.leases.units import unit_key
from poller.engine.leases.lease import Lease
from poller.engine.leases.worker import Worker
from poller.model.ids import FunctionName
from poller.model.lease import Row

FUNCTION = FunctionName("insert_records")

LOOK_AGAIN_IN_SECONDS = 0.1


class _Unit:
    """A unit that this process has. `using` is the scope of the invocation that uses it."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.using: anyio.CancelScope | None = None


class UnitsOfOne:
    """The units of one process. With `count` None, the function has no limit."""

    def __init__(self, worker: Worker, count: int | None) -> None:
        self._worker = worker
        self._count = count
        self._units: list[_Unit] = []
        self._changed = anyio.Event()

    async def run(self) -> None:
        """Hold units, until cancelled."""
        if self._count is None:
            return
        await self._worker.create([Row(key=unit_key(FUNCTION, number)) for number in range(self._count)])
        async with anyio.create_task_group() as holding:
            for number in range(self._count):
                holding.start_soon(self._hold, number)

    @asynccontextmanager
    async def slot(self, *, unless: Callable[[], bool]) -> AsyncIterator[bool]:
        """Wait for a unit, and let the block use it. Yield False if `unless` is true before."""
        if self._count is None:
            yield True
            return
        while (unit := next(filter(_is_free, self._units), None)) is None:
            if unless():
                yield False
                return
            await anyio.sleep(LOOK_AGAIN_IN_SECONDS)
        with anyio.CancelScope() as unit.using:
            try:
                yield True
            finally:
                unit.using = None
                self._change()

    async def _hold(self, number: int) -> None:
        while True:
            async with self._worker.lease(unit_key(FUNCTION, number)) as lease:
                assert lease is not None, "a unit is never drained"
                unit = _Unit(lease)
                self._units.append(unit)
                try:
                    with lease.scope:
                        await lease.is_wanted_back.wait()
                        while unit.using is not None:
                            await self._changed.wait()
                finally:
                    self._units.remove(unit)
                    if unit.using is not None:
                        unit.using.cancel()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _is_free(unit: _Unit) -> bool:
    return unit.using is None and unit.lease.may_begin() and not unit.lease.is_wanted_back.is_set()
