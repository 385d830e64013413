"""How many events of a function may be taken now? As many as the function's concurrency allows soon.

The function's room is its concurrency minus the batches and the events that it still has to answer.
An event that waits only for its deliveries uses up no room, but a second limit counts it. So slow destinations slow
down the taking of events, but not the mappings that invoke the same function.
If batches use up all room, one event may still be taken. It waits for the function in the same order as the batches.
While the function is throttled, only one event at a time is tried (`pace.py`).
"""

from __future__ import annotations

import anyio

from poller.engine.events.pace import Pace
from poller.functions.room import FunctionRoom

MOST_AT_ONCE = 64
"""How many events are taken with one call. SQS gives at most ten."""

IN_DELIVERY = 16
"""How many more events may be in hand than the function runs at once. The additional ones wait for their deliveries."""


class EventPermits:
    """The events in hand of one run. Not thread-safe."""

    def __init__(self, *, room: FunctionRoom, pace: Pace) -> None:
        self.in_hand = 0
        self.invoking = 0
        self._room = room
        self._pace = pace
        self._changed = anyio.Event()

    def enter(self) -> None:
        """Begin to watch the function's room, so that `some` returns when there is room. `leave` ends this."""
        self._room.listen(self._wake)

    @property
    def free(self) -> int:
        """Return how many events may be taken now. Zero or less means none."""
        room = self._room
        own = min(MOST_AT_ONCE, room.capacity + IN_DELIVERY - self.in_hand)
        if not room.capacity:
            return own  # the function may not be invoked, so these events end at once
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
        """Give the room of one event free, because its attempt is over."""
        self.invoking -= 1
        self._room.batches -= 1
        self._room.changed()

    def end(self) -> None:
        """Count one event less in hand. Call `answered` for this event before."""
        self.in_hand -= 1
        self._wake()

    def leave(self) -> None:
        self._room.stop_listening(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
