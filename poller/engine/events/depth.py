"""How many events does a queue store? A run reads this regularly, because the status and the metrics show it."""

from __future__ import annotations

import random
from collections.abc import Iterable

import anyio

from poller.engine.events.health import EventHealth
from poller.engine.source_pauses import SourcePauses
from poller.errors import ServiceError
from poller.model.event import EventQueueDepth
from poller.model.ids import FunctionName
from poller.ports import EventQueue

DEPTH_IN_SECONDS = 15.0
"""The time between two readings of the number of events in a queue. After an error it is longer."""


class DepthWatch:
    """Reads the depth of one queue. `name` is the name of the queue in the status."""

    def __init__(
        self, queue: EventQueue, name: str, *, function: FunctionName, health: EventHealth, randomness: random.Random
    ) -> None:
        self._queue = queue
        self._name = name
        self._function = function
        self._health = health
        self._pauses = SourcePauses(randomness)
        self._pause = 0.0

    async def next(self) -> EventQueueDepth | ServiceError:
        """Wait for the time of the next reading, and return the depth.

        If the depth cannot be read, report the error, and return the error.
        """
        await anyio.sleep(self._pause)
        asked_at = anyio.current_time()
        try:
            depth = await self._queue.depth(self._function)
        except ServiceError as error:
            self._pause = self._pauses.after_failure(error, asked_at=asked_at)
            self._health.queue_failed("depth", error, queue=self._name, retry_in=self._pause)
            return error
        self._pause = DEPTH_IN_SECONDS
        self._pauses.succeeded()
        self._health.succeeded("depth", queue=self._name)
        return depth


def sum_of(depths: Iterable[EventQueueDepth]) -> EventQueueDepth:
    every = list(depths)
    return EventQueueDepth(
        waiting=sum(depth.waiting for depth in every),
        in_flight=sum(depth.in_flight for depth in every),
        stuck=sum(depth.stuck for depth in every),
        oldest_accepted_at=min(
            (depth.oldest_accepted_at for depth in every if depth.oldest_accepted_at is not None), default=None
        ),
    )


def count(depth: EventQueueDepth) -> int:
    """Return the number of all events."""
    return depth.waiting + depth.in_flight + depth.stuck
