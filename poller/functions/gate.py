"""How many invocations of a function run at once? At most its reserved concurrency; the others wait in line.

The line is first come, first served, over all mappings that invoke the function.
A mapping that stops calls `send_home`, so that it leaves the line at once: what it waits with has not been invoked.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType

import anyio


class Waiter:
    """One place in the line. `called` is set when it is over, with a slot or without one."""

    __slots__ = ("called", "has_slot", "unless")

    def __init__(self, unless: anyio.Event) -> None:
        self.unless = unless
        self.called = anyio.Event()
        self.has_slot = False


class FunctionGate:
    """`async with gate.slot(unless=…) as has_slot:` around each invocation; at most `capacity` have a slot at once."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, capacity
        self.capacity = capacity
        self.running = 0
        self._line: deque[Waiter] = deque()

    def slot(self, *, unless: anyio.Event) -> Slot:
        """Wait for a slot; none is given once `unless` is set."""
        return Slot(self, unless)

    def send_home(self, unless: anyio.Event) -> None:
        """`unless` is set: those who wait in line with it leave now, without a slot."""
        assert unless.is_set()
        for waiter in [waiter for waiter in self._line if waiter.unless is unless]:
            self._line.remove(waiter)
            waiter.called.set()

    def enter(self, unless: anyio.Event) -> bool:
        """Take a slot if there is one; False if not, and once `unless` is set."""
        if self.running == self.capacity or unless.is_set():
            return False
        assert not self._line, "nobody stands in line while there is room"
        self.running += 1
        return True

    async def wait_in_line(self, unless: anyio.Event) -> bool:
        """False, and no slot, if `unless` is set before it is this one's turn."""
        if unless.is_set():
            return False
        waiter = Waiter(unless)
        self._line.append(waiter)
        try:
            await waiter.called.wait()
        except BaseException:
            if waiter.has_slot:
                self.leave()
            elif waiter in self._line:
                self._line.remove(waiter)
            raise
        if waiter.has_slot and unless.is_set():
            self.leave()
            return False
        return waiter.has_slot

    def leave(self) -> None:
        """Hand the slot to the first in line; only with nobody there does it become free."""
        if self._line:
            waiter = self._line.popleft()
            waiter.has_slot = True
            waiter.called.set()
        else:
            self.running -= 1


class Slot:
    """One invocation's way through the gate."""

    __slots__ = ("_gate", "_has_slot", "_unless")

    def __init__(self, gate: FunctionGate, unless: anyio.Event) -> None:
        self._gate = gate
        self._unless = unless
        self._has_slot = False

    async def __aenter__(self) -> bool:
        self._has_slot = self._gate.enter(self._unless) or await self._gate.wait_in_line(self._unless)
        return self._has_slot

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_slot:
            self._gate.leave()
