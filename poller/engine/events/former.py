"""What happens to the events in a former event queue? The run takes and handles them like all other events.

    the settings give the function another event queue ──> its former queue is read ──> empty for ten minutes: forgotten
                                                               └── it cannot be read: the status shows this until a
                                                                   person forgets the queue

The daemon's own file remembers the queue, so it is read after a restart, too.
The counts of SQS lag and are not exact. So the queue must look empty for ten minutes, and not only once.
A deleted queue counts as empty.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from poller.engine.events.depth import DEPTH_IN_SECONDS, DepthWatch, count
from poller.engine.events.health import EventHealth
from poller.errors import NotFound, ServiceError
from poller.facts import Emit, FormerEventQueueForgotten, FormerEventQueueFound
from poller.model.arn import Arn
from poller.model.event import EventQueueDepth
from poller.model.ids import FunctionName
from poller.ports import EventQueue

EMPTY_FOR_SECONDS = 600.0
"""A former queue is forgotten after this time without an event. We chose it: SQS's counts lag by a minute."""


Take = Callable[[EventQueue, str], Coroutine[Any, Any, None]]
"""Takes events from a queue until cancelled. The text is the name of the queue in the status."""


class FormerQueues(Protocol):
    """The former event queues of one function."""

    async def remembered(self) -> Collection[Arn]:
        """Return the queues that are not forgotten. Raises ServiceError if the file cannot be read."""

    async def open(self, arn: Arn) -> EventQueue:
        """Return this queue. It stays open until the run of the function's events ends."""

    async def forget(self, arn: Arn) -> bool:
        """Forget this queue durably. Return False if the settings name the queue again.

        Raises ServiceError if the file cannot be written.
        """


class Emptiness:
    """Tells whether a former queue has been empty for long enough."""

    def __init__(self) -> None:
        self._since: float | None = None

    def is_lasting(self, found: EventQueueDepth | ServiceError) -> bool:
        """Return whether the queue has been empty for EMPTY_FOR_SECONDS. A deleted queue is empty."""
        is_empty = isinstance(found, NotFound) if isinstance(found, ServiceError) else not count(found)
        if not is_empty:
            self._since = None
            return False
        now = anyio.current_time()
        if self._since is None:
            self._since = now
        return now - self._since >= EMPTY_FOR_SECONDS


class FormerQueueReader:
    """Reads the former queues of one function.

    `depths` has the last known depth of each queue.
    """

    def __init__(
        self,
        queues: FormerQueues,
        *,
        function: FunctionName,
        health: EventHealth,
        randomness: random.Random,
        emit: Emit,
    ) -> None:
        self.depths: dict[Arn, EventQueueDepth] = {}
        self._queues = queues
        self._function = function
        self._health = health
        self._randomness = randomness
        self._emit = emit
        self._reading: dict[Arn, anyio.CancelScope] = {}

    @property
    def has_queues(self) -> bool:
        return bool(self._reading)

    async def run(self, take: Take) -> None:
        """Read the former queues, also those that are found later, until cancelled."""
        async with anyio.create_task_group() as readers:
            while True:
                await self._look(readers, take)
                await anyio.sleep(DEPTH_IN_SECONDS)

    async def _look(self, readers: TaskGroup, take: Take) -> None:
        """Begin to read the queues that are new, and stop reading those that were forgotten."""
        try:
            remembered = await self._queues.remembered()
        except ServiceError:  # the depth of the daemon's own queue cannot be read either, and that is reported
            return
        for arn in remembered:
            if arn not in self._reading:
                self._reading[arn] = anyio.CancelScope()
                self._emit(FormerEventQueueFound(self._function, str(arn)))
                readers.start_soon(self._read, arn, take)
        for arn in self._reading.keys() - set(remembered):
            self._reading.pop(arn).cancel()

    async def _read(self, arn: Arn, take: Take) -> None:
        """Take events from the queue until it is empty or forgotten."""
        name = str(arn)
        with self._reading[arn]:
            queue = await self._queues.open(arn)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take, queue, name)
                await self._until_empty(arn, queue)
                tasks.cancel_scope.cancel()
        self.depths.pop(arn, None)
        for operation in ("take", "depth"):
            self._health.succeeded(operation, queue=name)

    async def _until_empty(self, arn: Arn, queue: EventQueue) -> None:
        """Wait until the queue has been empty for long enough, and forget it."""
        watch = DepthWatch(queue, str(arn), function=self._function, health=self._health, randomness=self._randomness)
        emptiness = Emptiness()
        while True:
            found = await watch.next()
            if not isinstance(found, ServiceError):
                self.depths[arn] = found
            if emptiness.is_lasting(found):
                try:
                    is_forgotten = await self._queues.forget(arn)
                except ServiceError:  # the daemon's own queue reports the error; the next reading tries again
                    continue
                if is_forgotten:
                    self._emit(FormerEventQueueForgotten(self._function, str(arn), "empty"))
                return
