"""Which units of a shared limit does this process hold, and which invocations use them?

All workers together may run as many invocations as a limit has units (`core/leases/units.py`). The worker of this
process leases some of them (`engine/units.py`):

    the worker takes a unit ──> held ── another worker wants it, and it is not needed here ──> given away
                                 └───── the worker could not renew its lease in time ────────> lost

Each invocation uses a unit of its own, from its beginning to its end. So the invocations of this process are never more
than its units, and the workers together never exceed the limit.
If an invocation's unit is given away or lost, the invocation goes on with a free unit. If there is no free unit, its
unit was lost: another worker may soon use that unit, so the invocation is cut.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from poller.model.invocation import LostAnswer, Response, Throttled

NO_UNIT = Throttled(
    reason="NoUnitOfConcurrency",
    detail="this worker has lost its part of the concurrency that all workers share; the function was not called",
)
CUT = LostAnswer(reason="this worker has lost its part of the concurrency that all workers share")


class Unit:
    """A unit that this process holds. `may_begin` returns whether an invocation may begin on it now."""

    __slots__ = ("may_begin", "use")

    def __init__(self, may_begin: Callable[[], bool]) -> None:
        self.may_begin = may_begin
        self.use: _Use | None = None


class _Use:
    """An invocation, the unit that it uses, and the scope in which it runs."""

    __slots__ = ("scope", "unit")

    def __init__(self, unit: Unit) -> None:
        self.scope = anyio.CancelScope()
        self.unit: Unit | None = unit
        unit.use = self


class Units:
    """The units of one limit that this process holds. `wanted` is the number of units that this process asks for: the
    limit.

    `needed` returns how many units are needed for the invocations that run, and for those that must run before a unit
    is given away.
    `waits` returns whether there is an invocation that waits and that no other worker can run, such as a client's call.
    `changed` is called when there are more or fewer units.
    """

    def __init__(
        self,
        wanted: int,
        *,
        needed: Callable[[], int],
        changed: Callable[[], None],
        waits: Callable[[], bool] = lambda: False,
    ) -> None:
        self.wanted = wanted
        self._waits = waits
        self.wants_other_number = anyio.Event()
        """Set when `wanted` changes. The task that waits for this event replaces it with a new one."""
        self._needed = needed
        self._changed = changed
        self._held: set[Unit] = set()
        self._leaving: set[Unit] = set()
        self._free: dict[Unit, None] = {}
        self._may_leave = anyio.Event()

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def kept(self) -> int:
        """Return how many units this process holds and does not give away."""
        return len(self._held) - len(self._leaving)

    @property
    def is_missing(self) -> bool:
        """Return whether an invocation waits here, and this process holds no unit."""
        return not self._held and self._waits()

    def want(self, number: int) -> None:
        if number != self.wanted:
            self.wanted = number
            self.wants_other_number.set()

    def add(self, may_begin: Callable[[], bool]) -> Unit:
        """Note that this process holds one more unit."""
        unit = Unit(may_begin)
        self._held.add(unit)
        self._free[unit] = None
        self._changed()
        return unit

    async def leave(self, unit: Unit) -> None:
        """Wait until this process can do without one unit. Then give `unit` away; its invocation moves to another."""
        self._leaving.add(unit)
        try:
            self._changed()
            while unit in self._held and self._needed() >= len(self._held):
                await self._may_leave.wait()
        finally:
            self._leaving.discard(unit)
        self.lose(unit)

    def lose(self, unit: Unit) -> None:
        """Note that this process does not hold the unit any more. Does nothing if the unit has left."""
        if unit not in self._held:
            return
        self._held.remove(unit)
        self._free.pop(unit, None)
        if unit.use is not None:
            self._move_on(unit.use)
        self._changed()
        self.reconsider()

    def reconsider(self) -> None:
        """Give away the units that other workers want, as far as this process does not need them any more."""
        if self._leaving:
            self._changed()
            self._may_leave.set()
            self._may_leave = anyio.Event()

    async def run(self, call: Callable[[], Awaitable[Response]]) -> Response:
        """Call the function on a free unit, and return its response. Return NO_UNIT if no unit may be used."""
        if (unit := self._usable()) is None:
            return NO_UNIT
        del self._free[unit]
        use = _Use(unit)
        with use.scope:
            try:
                return await call()
            finally:
                self._end(use)
        return CUT

    def _usable(self) -> Unit | None:
        """Return a free unit, if possible one that no other worker wants."""
        usable = None
        for unit in reversed(self._free):
            if unit.may_begin():
                usable = unit
                if unit not in self._leaving:
                    break
        return usable

    def _move_on(self, use: _Use) -> None:
        """Let an invocation whose unit leaves go on with another unit, or cut it."""
        if (unit := self._usable()) is None:
            use.unit = None
            use.scope.cancel()
        else:
            del self._free[unit]
            use.unit, unit.use = unit, use

    def _end(self, use: _Use) -> None:
        if use.unit is not None:
            use.unit.use = None
            self._free[use.unit] = None
