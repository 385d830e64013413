"""How does one process of a simulation keep to a function's concurrency that all workers share?

As a mapping does it: an invocation waits for a slot of the function's gate, and then uses a unit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from poller.core.leases.units import limit_of_function
from poller.engine.leases.worker import Worker
from poller.engine.stop import Stop
from poller.engine.units import hold_units
from poller.functions.capacity import FunctionCapacity
from poller.model.ids import FunctionName
from poller.model.invocation import Answered, Response

FUNCTION = FunctionName("insert_records")
LIMIT = limit_of_function(FUNCTION)

SUCCEEDED = Answered(b"true")
FAILED = Answered(b"false")


class UnitsOfOne:
    """The units of one process. With `count` None, the function has no limit."""

    def __init__(self, worker: Worker, count: int | None, stop: Stop) -> None:
        self.capacity = FunctionCapacity(1_000 if count is None else count, is_shared=count is not None)
        self._worker = worker
        self._stop = stop

    async def run(self) -> None:
        """Hold units until the stop, and until no invocation needs them."""
        if self.capacity.units is not None:
            await hold_units(self._worker, LIMIT, self.capacity.units, stop=self._stop)

    async def invoke(
        self, call: Callable[[], Awaitable[bool]], *, may_begin: Callable[[], bool], unless: anyio.Event
    ) -> bool | None:
        """Call the function, and return whether it has succeeded. Return None if it was not called, or was cut."""

        async def respond() -> Response:
            return SUCCEEDED if await call() else FAILED

        async with self.capacity.gate.slot(unless=unless) as has_slot:
            if not (has_slot and may_begin()):
                return None
            units = self.capacity.units
            response = await (respond() if units is None else units.run(respond))
        return response == SUCCEEDED if isinstance(response, Answered) else None
