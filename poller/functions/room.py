"""Does a function have room for one more batch? All queue mappings of a function count their batches in one `Room`.

    batches       batches in hand: they run, or they wait for their invocation
    polls         polls in flight
    short_polls   the polls that may each bring one more batch soon

A mapping reads these counts before it polls (`engine/queues/permits.py`). Its listener is called when there may be
more room. It listens only while a poll waits for room, because thousands of mappings may invoke one function.
"""

from __future__ import annotations

from collections.abc import Callable


class Room:
    """A count of polls and batches in hand. Code that lowers a count must call `changed` afterwards."""

    def __init__(self) -> None:
        self.batches = 0
        self.polls = 0
        self._listeners: dict[Callable[[], None], None] = {}  # an ordered set

    @property
    def in_use(self) -> int:
        """Return how many batches are in hand, or may come into hand soon."""
        return self.polls + self.batches

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` each time there may be more room. It must not wait. A second `listen` changes nothing."""
        self._listeners[listener] = None

    def stop_listening(self, listener: Callable[[], None]) -> None:
        self._listeners.pop(listener, None)

    def changed(self) -> None:
        for listener in tuple(self._listeners):  # a listener may stop listening
            listener()


class FunctionRoom(Room):
    """The room of one function, which runs at most `capacity` batches at once."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        assert capacity >= 0, capacity
        self.capacity = capacity
        self.short_polls = 0

    def resize(self, capacity: int) -> None:
        assert capacity >= 0, capacity
        self.capacity = capacity
        self.changed()
