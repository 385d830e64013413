"""When is an event queue opened? At its first call, so that a queue that cannot be opened does not stop the daemon.

    the queue does not exist    the first put creates it; a take waits for that; the depth is zero
    the queue exists            the first call opens it, and the queue stays open

So a daemon that gets no events creates no file for them. Another process may create the file, so a take that waits
looks for the file every three seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from poller.errors import PollerError, Rejected, ServiceError
from poller.model.event import Event, EventQueueDepth, TakenEvent
from poller.model.ids import FunctionName
from poller.ports import EventQueue

LOOK_EVERY_SECONDS = 3.0
"""How often a take looks for a queue that did not exist. Each function without events has a take that waits."""


class OnDemandEventQueue:
    """Implements `ports.EventQueue`: opens another event queue at the first call, and passes all calls on to it.

    `exists` returns True if the queue exists. `open_queue` opens the queue, and creates it if it does not exist.
    """

    def __init__(
        self, *, exists: Callable[[], Awaitable[bool]], open_queue: Callable[[], Awaitable[EventQueue]]
    ) -> None:
        self._exists = exists
        self._open_queue = open_queue
        self._opening = anyio.Lock()
        self._is_open = anyio.Event()
        self._queue: EventQueue | None = None

    async def put(self, events: Sequence[Event]) -> None:
        await (await self.opened()).put(events)

    async def take(self, function: FunctionName, *, count: int, wait_in_seconds: float) -> list[TakenEvent]:
        until = anyio.current_time() + wait_in_seconds
        while not await self._may_have_events():
            left = until - anyio.current_time()
            if left <= 0:
                return []
            with anyio.move_on_after(min(left, LOOK_EVERY_SECONDS)):
                await self._is_open.wait()
        queue, left = await self.opened(), max(0.0, until - anyio.current_time())
        return await queue.take(function, count=count, wait_in_seconds=left)

    async def extend(self, taken: TakenEvent, *, by_seconds: float) -> TakenEvent | None:
        return await (await self.opened()).extend(taken, by_seconds=by_seconds)

    async def put_back(self, taken: TakenEvent, event: Event) -> None:
        await (await self.opened()).put_back(taken, event)

    async def remove(self, taken: TakenEvent) -> None:
        await (await self.opened()).remove(taken)

    async def depth(self, function: FunctionName) -> EventQueueDepth:
        if not await self._may_have_events():
            return EventQueueDepth(waiting=0, in_flight=0)
        return await (await self.opened()).depth(function)

    async def _may_have_events(self) -> bool:
        return self._queue is not None or await self._exists()

    async def opened(self) -> EventQueue:
        """Return the open queue. Raises ServiceError if it cannot be opened; the next call tries again."""
        async with self._opening:
            if self._queue is None:
                try:
                    self._queue = await self._open_queue()
                except ServiceError:
                    raise
                except PollerError as error:
                    raise unusable(error) from error
                self._is_open.set()
            return self._queue


def unusable(error: PollerError) -> Rejected:
    """Return the ServiceError of an event queue that cannot be opened."""
    return Rejected(str(error), code="EventQueueUnusable")
