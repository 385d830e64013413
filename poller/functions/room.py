"""How much of a function's concurrency is spoken for? It is counted over all mappings that fetch batches for it.

    batches       batches in hand: they are invoked, or they will be
    short_polls   polls that may each bring one more batch soon

A mapping asks before it fetches (`engine/queues/permits.py`), and is told when there is more room.
"""

from __future__ import annotations

from collections.abc import Callable


class FunctionRoom:
    """The counts of one function. Whoever changes them calls `changed` afterwards if there is more room now."""

    def __init__(self, capacity: int) -> None:
        assert capacity >= 1, capacity
        self.capacity = capacity
        self.batches = 0
        self.short_polls = 0
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this, without waiting, each time there may be more room."""
        self._listeners.append(listener)

    def stop_listening(self, listener: Callable[[], None]) -> None:
        self._listeners.remove(listener)

    def changed(self) -> None:
        for listener in self._listeners:
            listener()
