"""How many invocations of a function run at once? At most its reserved concurrency. Further ones wait in a line.

The invocations of all mappings wait in the same line, and the first one in the line is the next to run.
A mapping that stops calls `send_home`, which removes its waiting batches from the line without an invocation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType

import anyio


class Waiter:
    """An invocation in the line. `called` is set when its wait ends. Then `has_slot` says whether it has a slot."""

    __slots__ = ("called", "has_slot", "unless")

    def __init__(self, unless: anyio.Event) -> None:
        self.unless = unless
        self.called = anyio.Event()
        self.has_slot = False


class FunctionGate:
    """Gives slots to the invocations of one function, at most `capacity` at once.

    With capacity 0 no invocation gets a slot.
    Each invocation runs within `async with gate.slot(unless=…) as has_slot:`.
    """

    def __init__(self, capacity: int) -> None:
        assert capacity >= 0, capacity
        self.capacity = capacity
        self.running = 0
        self.left: Callable[[], None] | None = None
        """Is called after each invocation, if it is set."""
        self._line: deque[Waiter] = deque()

    @property
    def has_line(self) -> bool:
        return bool(self._line)

    @property
    def waiting(self) -> int:
        """Return how many invocations wait in the line."""
        return len(self._line)

    def slot(self, *, unless: anyio.Event) -> Slot:
        """Return a context manager that waits for a slot and yields True. It yields False if `unless` is set first."""
        return Slot(self, unless)

    def send_home(self) -> None:
        """End the wait of each invocation whose event `unless` is set. They get no slot."""
        for waiter in [waiter for waiter in self._line if waiter.unless.is_set()]:
            self._line.remove(waiter)
            waiter.called.set()

    def enter(self, unless: anyio.Event) -> bool:
        """Take a slot at once. Return False if no slot is free or `unless` is set."""
        if self.running >= self.capacity or unless.is_set():
            return False
        assert not self._line, "nobody stands in line while there is room"
        self.running += 1
        return True

    async def wait_in_line(self, unless: anyio.Event) -> bool:
        """Wait for a slot. Return False, without a slot, if `unless` is set at the end of the wait.

        `send_home` ends the wait. Setting `unless` alone does not end it.
        """
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
        """Free the slot, and give it to the first invocation in the line."""
        self.running -= 1
        self._call()
        if self.left is not None:
            self.left()

    def resize(self, capacity: int) -> None:
        """Allow this number of invocations at once. Invocations that run already continue, even if there are more."""
        assert capacity >= 0, capacity
        self.capacity = capacity
        self._call()

    def _call(self) -> None:
        """Give free slots to the first invocations in the line."""
        while self._line and self.running < self.capacity:
            waiter = self._line.popleft()
            waiter.has_slot = True
            waiter.called.set()
            self.running += 1


class Slot:
    """The context manager of one invocation's slot."""

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
