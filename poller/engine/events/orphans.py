"""Which events belong to functions that the settings no longer have? A person decides about these events.

Such events stay in the daemon's own queue, and the status counts them as stuck. The function is not invoked with them
until the settings have the function again. A person may also drop the events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import anyio

from poller.errors import ServiceError
from poller.facts import Emit, EventsOrphaned
from poller.model.event import EventQueueDepth
from poller.model.ids import FunctionName
from poller.model.mapping import EventMapping
from poller.model.status import EventsStatus, MappingStatus
from poller.ports import Clock

LOOK_IN_SECONDS = 60.0


class OrphanedEvents:
    """Looks regularly for events of functions that the settings no longer have.

    `stored` returns each function that has events in the queue, with the number of events. `known` returns the
    functions of the settings.
    """

    def __init__(
        self,
        *,
        stored: Callable[[], Awaitable[dict[FunctionName, EventQueueDepth]]],
        known: Callable[[], Collection[FunctionName]],
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._stored = stored
        self._known = known
        self._clock = clock
        self._emit = emit
        self._depths: dict[FunctionName, EventQueueDepth] = {}

    async def run(self) -> None:
        while True:
            await self.run_once()
            await anyio.sleep(LOOK_IN_SECONDS)

    async def run_once(self) -> None:
        """Look for such events once.

        If the queue cannot be read, do nothing: the runs of the functions report the error.
        """
        try:
            stored = await self._stored()
        except ServiceError:
            return
        depths = {function: depth for function, depth in stored.items() if function not in self._known()}
        for function, depth in depths.items():
            if function not in self._depths:
                self._emit(EventsOrphaned(function, _count(depth)))
        self._depths = depths

    def statuses(self) -> list[MappingStatus]:
        known = self._known()
        return [self._status(function, depth) for function, depth in self._depths.items() if function not in known]

    def _status(self, function: FunctionName, depth: EventQueueDepth) -> MappingStatus:
        events, oldest = EventMapping(function_name=function), depth.oldest_accepted_at
        return MappingStatus(
            mapping=events.name,
            function=function,
            source=events.source,
            state="troubled",
            reason="the settings no longer have this function; its events are kept until a person drops them",
            polls_in_flight=0,
            batches_in_flight=0,
            messages_held=0,
            concurrency_limit=0,
            events=EventsStatus(
                stuck=_count(depth),
                oldest_age_in_seconds=0.0 if oldest is None else max(0.0, self._clock.now() - oldest),
            ),
        )


def _count(depth: EventQueueDepth) -> int:
    return depth.waiting + depth.in_flight + depth.stuck
