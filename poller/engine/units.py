"""How does this process get its part of a limit that all workers share? Its worker leases units; invocations use them.

    the table ── the worker (engine/leases/) ── hold_units, a task for each unit ──> functions/units.py ── invocations

A unit is the right to run one invocation. Each task waits until the worker has the lease of one unit, and lets
invocations use this unit. When the unit is given away or lost, the task waits again.
The tasks ask for all units of the limit, and `core/leases/units.py` decides how many of them this worker gets.

At a stop, the worker gives each unit away as soon as no invocation needs it, and not only after the last invocation.
While a new limit is rolled out, two workers may have different limits. Then the larger limit holds until the last
worker has the new one. A worker deletes the units beyond its own limit once they have no owner.
"""

from __future__ import annotations

import anyio
from anyio.abc import TaskGroup

from poller.core.leases.units import LimitName, unit_key
from poller.engine.leases.lease import Lease
from poller.engine.leases.worker import Worker
from poller.engine.stop import Stop
from poller.functions.units import Units
from poller.model.lease import Row


async def hold_units(worker: Worker, limit: LimitName, units: Units, *, stop: Stop) -> None:
    """Hold units until the stop has begun and no invocation needs them any more, or until cancelled."""
    tasks_of_units: list[_UnitTask] = []
    worker.missing[limit] = lambda: units.is_missing
    try:
        async with anyio.create_task_group() as tasks:
            while not stop.has_begun:
                units.wants_other_number = anyio.Event()
                worker.limits[limit] = units.wanted
                await _resize(tasks_of_units, worker, limit, units, tasks)
                await stop.before(units.wants_other_number)
            for task in tasks_of_units:
                task.end()
    finally:
        del worker.missing[limit]
        worker.limits.pop(limit, None)  # otherwise, this worker would delete units that others still need


async def _resize(its_tasks: list[_UnitTask], worker: Worker, limit: LimitName, units: Units, tasks: TaskGroup) -> None:
    """Begin a task for each further unit, or end the tasks of units beyond the limit."""
    while len(its_tasks) > units.wanted:
        its_tasks.pop().end()
    if new := range(len(its_tasks), units.wanted):
        await worker.create([Row(key=unit_key(limit, number)) for number in new])
    for number in new:
        task = _UnitTask(worker, limit, number, units)
        its_tasks.append(task)
        tasks.start_soon(task.run)


class _UnitTask:
    """The task that waits for one unit, and lets invocations use it."""

    def __init__(self, worker: Worker, limit: LimitName, number: int, units: Units) -> None:
        self._worker = worker
        self._key = unit_key(limit, number)
        self._units = units
        self._is_ended = False
        self._waiting = anyio.CancelScope()
        self._lease: Lease | None = None

    async def run(self) -> None:
        """Wait for the unit, let invocations use it, and begin again, until `end` is called."""
        with self._waiting:
            while not self._is_ended:
                async with self._worker.lease(self._key) as lease:
                    assert lease is not None, "a unit is never drained"
                    self._lease = lease
                    await self._hold(lease)
                    self._lease = None

    def end(self) -> None:
        """Let the task end at once if it waits for the unit. Otherwise, let it give the unit away."""
        self._is_ended = True
        if self._lease is None:
            self._waiting.cancel()
        else:
            self._lease.is_wanted_back.set()

    async def _hold(self, lease: Lease) -> None:
        """Let invocations use the unit, until another worker should have it, or until it is lost."""
        unit = self._units.add(lease.may_begin)
        try:
            with lease.scope:
                await lease.is_wanted_back.wait()
                await self._units.leave(unit)
        finally:
            self._units.lose(unit)
