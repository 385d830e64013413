"""How many events of a function may be taken now? As many as the function can soon run.

The function's room counts the batches of its mappings and the events that it has not answered yet.
An event in hand whose invocation has ended takes no room of the function, but counts for its own limit: so slow
destinations slow the taking, and not the mappings that use the same function.
If the room is used up by others, one event may still be taken: it waits in line for a slot as their batches do.
While the function is throttled, one event at a time tries it (`pace.py`).
"""

from __future__ import annotations

import anyio

from poller.engine.events.pace import Pace
from poller.functions.room import FunctionRoom

MOST_AT_ONCE = 64
"""How many events are taken with one call. SQS gives at most ten."""

IN_DELIVERY = 16
"""How many events more than the function runs at once may be in hand, while they are delivered."""


class EventPermits:
    """The events in hand of one run. Not thread-safe."""

    def __init__(self, *, room: FunctionRoom, pace: Pace) -> None:
        self.in_hand = 0
        self.invoking = 0
        self._room = room
        self._pace = pace
        self._changed = anyio.Event()

    def enter(self) -> None:
        """Learn from now on when there may be more room, until `leave`."""
        self._room.listen(self._wake)

    @property
    def free(self) -> int:
        """Return how many events may be taken now; zero or less if none."""
        room = self._room
        own = min(MOST_AT_ONCE, room.capacity + IN_DELIVERY - self.in_hand)
        if not room.capacity:
            return own  # they end without an invocation
        if self._pace.is_slow:
            return min(own, 1 - self.invoking)
        shared = room.capacity - room.batches - room.short_polls
        return min(own, max(shared, 0 if self.invoking else 1))

    async def some(self) -> int:
        """Wait until events may be taken, and return how many."""
        while (free := self.free) <= 0:
            await self._changed.wait()
        return free

    def begin(self) -> None:
        """Count an event that was taken."""
        self.in_hand += 1
        self.invoking += 1
        self._room.batches += 1

    def answered(self) -> None:
        """Note that an event needs the function no longer."""
        self.invoking -= 1
        self._room.batches -= 1
        self._room.changed()

    def end(self) -> None:
        """Note that an event which needs the function no longer is not in hand any more."""
        self.in_hand -= 1
        self._wake()

    def leave(self) -> None:
        self._room.stop_listening(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
