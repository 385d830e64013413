"""How many invocations of a function run at once? At most its reserved concurrency; the others wait in line.

The line is first come, first served, over all mappings that invoke the function.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType

import anyio


class FunctionGate:
    """`async with gate:` around each invocation; at most `capacity` are inside at once."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, capacity
        self.capacity = capacity
        self.running = 0
        self._line: deque[anyio.Event] = deque()

    async def __aenter__(self) -> None:
        if self.running < self.capacity:
            assert not self._line, "nobody stands in line while there is room"
            self.running += 1
            return
        called = anyio.Event()
        self._line.append(called)
        try:
            await called.wait()
        except BaseException:
            if called.is_set():
                self._leave()
            else:
                self._line.remove(called)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Hand the slot to the first in line; only with nobody there does it become free."""
        if self._line:
            self._line.popleft().set()
        else:
            self.running -= 1
