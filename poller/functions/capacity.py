"""How does a function keep its concurrency while it is replaced? The old and the new function share one capacity.

After a reload, invocations of the old function may still run when the new function is opened. Both share one gate and
one room, so together they do not exceed the new `reserved_concurrency`.
If the new number is smaller, no invocation is cut. New invocations wait until fewer than the new number run.

If several workers share the function's `reserved_concurrency`, the capacity is the number of units that this process
holds (`units.py`). A unit that should go to another worker does not count, so no poll and no invocation begins on it.
The last unit is an exception. While this process has batches in hand, the gate still counts the last unit, so that
these batches run now and do not wait until the process has a unit again. The room does not count it, so no new batch
comes.
"""

from __future__ import annotations

from math import inf

import anyio

from poller.functions.gate import FunctionGate
from poller.functions.room import FunctionRoom
from poller.functions.units import Units

CLIENT_WAITS_IN_SECONDS = 30.0
"""For how long after a refused call this process asks for a unit, so that the client's next try may find one."""


class FunctionCapacity:
    """The gate and the room of one function. `units` is None if the function shares no limit with other workers."""

    def __init__(self, reserved_concurrency: int, *, is_shared: bool = False) -> None:
        capacity = 0 if is_shared else reserved_concurrency
        self.gate = FunctionGate(capacity)
        self.room = FunctionRoom(capacity)
        self.units: Units | None = None
        self._refused_at = -inf
        if is_shared:
            self.units = Units(
                reserved_concurrency, needed=self._needed, changed=self._count_units, waits=self._has_waiter
            )
            self.gate.left = self.units.reconsider
            self.room.listen(self.units.reconsider)

    def resize(self, reserved_concurrency: int) -> None:
        if self.units is not None:
            self.units.want(reserved_concurrency)
        else:
            self._resize(gate=reserved_concurrency, room=reserved_concurrency)

    def refused(self) -> None:
        """Note that no worker of this daemon could make a client's call.

        This process then asks for a unit, because the client may try again.
        """
        self._refused_at = anyio.current_time()

    def _has_waiter(self) -> bool:
        return self.gate.has_line or anyio.current_time() < self._refused_at + CLIENT_WAITS_IN_SECONDS

    def _needed(self) -> int:
        """Return how many units the batches and calls in hand need. No unit may be given away while they need it."""
        return max(self.gate.running, min(1, self.room.in_use))

    def _count_units(self) -> None:
        assert self.units is not None, "only units call this"
        kept = self.units.kept
        self._resize(gate=kept or min(self.units.held, self.room.in_use, 1), room=kept)

    def _resize(self, *, gate: int, room: int) -> None:
        if gate != self.gate.capacity:
            self.gate.resize(gate)
        if room != self.room.capacity:
            self.room.resize(room)
