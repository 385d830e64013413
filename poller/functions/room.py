"""How much of a function's concurrency is spoken for? It is counted over all mappings that fetch batches for it.

    batches       batches in hand: they are invoked, or they will be
    short_polls   polls that may each bring one more batch soon

A mapping asks before it fetches (`engine/queues/permits.py`), and is told when there is more room.
"""

from __future__ import annotations

from collections.abc import Callable


class Room:
    """A count of batches in hand. Whoever lowers it calls `changed` afterwards."""

    def __init__(self) -> None:
        self.batches = 0
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this, without waiting, each time there may be more room."""
        self._listeners.append(listener)

    def stop_listening(self, listener: Callable[[], None]) -> None:
        self._listeners.remove(listener)

    def changed(self) -> None:
        for listener in self._listeners:
            listener()


class FunctionRoom(Room):
    """The room of one function, which runs `capacity` batches at once."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        assert capacity >= 1, capacity
        self.capacity = capacity
        self.short_polls = 0
