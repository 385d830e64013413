"""How much may a function do at once, also while it is replaced? One capacity for each function name.

After a reload, invocations of the old function may still run when the new function is opened.  Both share one gate and
one room, so together they keep within the new `reserved_concurrency`.
If it has become smaller, no invocation is cut: new ones wait until fewer than the new number run.
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
