"""Which events belong to functions that the settings no longer have? A person decides about these events.

Such events stay in the daemon's own queue, or in the SQS queue that the function had for its events. The status counts
them as stuck. The function is not invoked with them until the settings have the function again.
A person may also drop the events, and let the daemon forget the SQS queue. The daemon itself forgets the SQS queue when
the queue has been empty for a while (`former.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple, Protocol

import anyio

from poller.engine.events.depth import count, sum_of
from poller.engine.events.former import Emptiness
from poller.errors import ServiceError
from poller.facts import Emit, EventsOrphaned, FormerEventQueueForgotten
from poller.model.event import EventQueueDepth, RememberedQueue
from poller.model.ids import FunctionName
from poller.model.mapping import EventMapping
from poller.model.status import EventsStatus, MappingStatus
from poller.ports import Clock

LOOK_IN_SECONDS = 60.0


class StoredEvents(Protocol):
    """The events of all functions. Each method raises ServiceError if a queue does not answer."""

    async def in_the_file(self) -> dict[FunctionName, EventQueueDepth]:
        """Return, for each function with events in the daemon's own queue, the number of these events."""

    async def former(self) -> Collection[RememberedQueue]:
        """Return the SQS queues that the settings no longer name as the event queues of their functions."""

    async def depth(self, queue: RememberedQueue) -> EventQueueDepth:
        """Return how many events this SQS queue has."""

    async def forget(self, queue: RememberedQueue) -> bool:
        """Forget this SQS queue durably. Return False if the settings name the queue again."""


class Found(NamedTuple):
    """The events of one removed function, in each queue. `notes` say what was found in its SQS queues."""

    depths: tuple[EventQueueDepth, ...] = ()
    notes: tuple[str, ...] = ()


class OrphanedEvents:
    """Looks regularly for events of functions that the settings no longer have.

    `known` returns the functions of the settings.
    """

    def __init__(
        self, stored: StoredEvents, *, known: Callable[[], Collection[FunctionName]], clock: Clock, emit: Emit
    ) -> None:
        self._stored = stored
        self._known = known
        self._clock = clock
        self._emit = emit
        self._found: dict[FunctionName, Found] = {}
        self._emptiness: dict[RememberedQueue, Emptiness] = {}

    async def run(self) -> None:
        while True:
            await self.run_once()
            await anyio.sleep(LOOK_IN_SECONDS)

    async def run_once(self) -> None:
        """Look for such events once.

        If the daemon's own queue cannot be read, do nothing: the runs of the functions report the error.
        """
        known = self._known()
        try:
            in_the_file = await self._stored.in_the_file()
            queues = [queue for queue in await self._stored.former() if queue.function not in known]
        except ServiceError:
            return
        found = {function: Found((depth,)) for function, depth in in_the_file.items() if function not in known}
        self._emptiness = {queue: self._emptiness.get(queue) or Emptiness() for queue in queues}
        for queue in queues:
            depths, notes = found.get(queue.function, Found())
            depth = await self._look_at(queue)
            if isinstance(depth, ServiceError):
                found[queue.function] = Found(depths, (*notes, f"{queue.arn} cannot be read: {depth.code}: {depth}"))
            elif count(depth):
                found[queue.function] = Found((*depths, depth), (*notes, f"{count(depth)} of them in {queue.arn}"))
        for function, (depths, _) in found.items():
            if depths and not self._found.get(function, Found()).depths:
                self._emit(EventsOrphaned(function, count(sum_of(depths))))
        self._found = found

    async def _look_at(self, queue: RememberedQueue) -> EventQueueDepth | ServiceError:
        """Return the depth of an SQS queue, or the error. Forget the queue if it has been empty for long enough."""
        found: EventQueueDepth | ServiceError
        try:
            found = await self._stored.depth(queue)
        except ServiceError as error:
            found = error
        if self._emptiness[queue].is_lasting(found):
            with suppress(ServiceError):  # the next look tries again
                if await self._stored.forget(queue):
                    self._emit(FormerEventQueueForgotten(queue.function, str(queue.arn), "empty"))
        return found

    def statuses(self) -> list[MappingStatus]:
        known = self._known()
        return [self._status(function, found) for function, found in self._found.items() if function not in known]

    def _status(self, function: FunctionName, found: Found) -> MappingStatus:
        events, depth = EventMapping(function_name=function), sum_of(found.depths)
        oldest = depth.oldest_accepted_at
        reason = "the settings no longer have this function; its events are kept until a person drops them"
        return MappingStatus(
            mapping=events.name,
            function=function,
            source=events.source,
            state="troubled",
            reason="; ".join([reason, *found.notes]),
            polls_in_flight=0,
            batches_in_flight=0,
            messages_held=0,
            concurrency_limit=0,
            events=EventsStatus(
                stuck=count(depth),
                oldest_age_in_seconds=0.0 if oldest is None else max(0.0, self._clock.now() - oldest),
            ),
        )
