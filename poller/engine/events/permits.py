"""How many events of a function may be taken now? As many as the function can soon run.

The room of a function counts the batches of its mappings and the events without an answer.
An event that waits only for its deliveries takes no room, but it counts for a limit of its own. So slow destinations
slow the taking of events, but not the mappings with the same function.
If batches use up the room, one event may still be taken. It waits for a slot in the same line as the batches.
While the function is throttled, one event at a time tries the function (`pace.py`).
"""

from __future__ import annotations

import anyio

from poller.engine.events.pace import Pace
from poller.functions.room import FunctionRoom

MOST_AT_ONCE = 64
"""How many events are taken with one call. SQS gives at most ten."""

IN_DELIVERY = 16
"""How many events may be in hand beyond the number that the function runs at once. They wait for their deliveries."""


class EventPermits:
    """The events in hand of one run. Not thread-safe."""

    def __init__(self, *, room: FunctionRoom, pace: Pace) -> None:
        self.in_hand = 0
        self.invoking = 0
        self._room = room
        self._pace = pace
        self._changed = anyio.Event()

    def enter(self) -> None:
        """Begin to watch the function's room, so that `some` wakes when the room changes. `leave` ends it."""
        self._room.listen(self._wake)

    @property
    def free(self) -> int:
        """Return how many events may be taken now. Zero or less means none."""
        room = self._room
        own = min(MOST_AT_ONCE, room.capacity + IN_DELIVERY - self.in_hand)
        if not room.capacity:
            return own  # these events end without an invocation
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
        """Note that the attempt of an event is over."""
        self.invoking -= 1
        self._room.batches -= 1
        self._room.changed()

    def end(self) -> None:
        """Note that an event is not in hand any more. Call `answered` for this event first."""
        self.in_hand -= 1
        self._wake()

    def leave(self) -> None:
        self._room.stop_listening(self._wake)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
