"""What do all users of a function share? The target that reaches it, its limits, and what was learnt about it."""

from __future__ import annotations

from poller.core.event_limit import EventLimit
from poller.functions.gate import FunctionGate
from poller.functions.room import FunctionRoom
from poller.model.function import Function
from poller.ports import Target


class OpenFunction:
    """A function whose target is open. Who opened the target closes it, after the last user has gone."""

    def __init__(self, definition: Function, target: Target) -> None:
        self.definition = definition
        self.target = target
        self.gate = FunctionGate(definition.reserved_concurrency)
        self.room = FunctionRoom(definition.reserved_concurrency)
        self.event_limit = EventLimit()
