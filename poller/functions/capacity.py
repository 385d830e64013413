"""How does a function keep its concurrency while it is replaced? The old and the new function share one capacity.

After a reload, invocations of the old function may still run when the new function is opened. Both share one gate and
one room, so together they do not exceed the new `reserved_concurrency`.
If the new number is smaller, no invocation is cut. New invocations wait until fewer than the new number run.
"""

from __future__ import annotations

from poller.functions.gate import FunctionGate
from poller.functions.room import FunctionRoom


class FunctionCapacity:
    """The gate and the room of one function."""

    def __init__(self, reserved_concurrency: int) -> None:
        self.gate = FunctionGate(reserved_concurrency)
        self.room = FunctionRoom(reserved_concurrency)

    def resize(self, reserved_concurrency: int) -> None:
        self.gate.resize(reserved_concurrency)
        self.room.resize(reserved_concurrency)
