"""Do the event queues of a function work, and do its destinations accept ended events?

    starting ── a call succeeds ──> ready ── a call fails ──> troubled ── the same kind of call succeeds ──> ready

Each kind of call has a trouble of its own, and so has each kind of delivery. Takes from each queue, and readings of its
depth, have a trouble of their own, too. The state is ready when no trouble is left.
"""

from __future__ import annotations

from typing import get_args

from poller.engine.troubles import Troubles, in_words
from poller.errors import LASTING, ServiceError
from poller.facts import Emit, EventDeliveryFailed, EventQueueFailed, EventQueueRecovered
from poller.model.event import Delivery, Event
from poller.model.ids import FunctionName
from poller.model.status import Health
from poller.ports import Clock

OVERDUE_IN_SECONDS = 300.0
"""How long after its planned time a delivery may still be tried again, because a busy function delays the tries.

We chose the longest pause between two tries.
"""


class EventHealth:
    """The state of one run's event queues and destinations.

    `source` names the queue where new events wait. A take from another queue, or a reading of its depth, gives the name
    of that queue. The calls that extend or end claims give no name, so they count as calls to `source`.
    """

    def __init__(self, *, function: FunctionName, source: str, clock: Clock, emit: Emit) -> None:
        self._function = function
        self._source = source
        self._clock = clock
        self._emit = emit
        self._is_found = False
        self._since = clock.now()
        self._troubles = Troubles()

    @property
    def health(self) -> Health:
        if self._troubles:
            return self._troubles.health("troubled" if self._is_found else "starting", self._troubles.reason)
        if not self._is_found:
            return Health("starting", "the event queue has not been looked up yet", self._since)
        return Health("ready", None, self._since)

    def queue_failed(self, operation: str, error: ServiceError, *, retry_in: float, queue: str | None = None) -> None:
        queue = queue or self._source
        text = f"{in_words(error)} ({queue})"
        self._troubles.failed(_kind(operation, queue), operation, text, now=self._clock.now(), retry_in=retry_in)
        self._emit(
            EventQueueFailed(
                function=self._function,
                queue=queue,
                operation=operation,
                code=error.code,
                detail=str(error),
                retry_in_seconds=retry_in,
                needs_action=isinstance(error, LASTING),
            )
        )

    def delivery_failed(
        self, event: Event, delivery: Delivery, destination: str, error: ServiceError, *, retry_in: float | None
    ) -> None:
        """Report that a delivery failed.

        `retry_in` is None if the delivery is not tried again, because the event is stuck.
        """
        if retry_in is not None:
            text = f"{in_words(error)} ({destination})"
            self._troubles.failed(delivery, delivery, text, now=self._clock.now(), retry_in=retry_in)
        self._emit(
            EventDeliveryFailed(
                self._function, event.request_id, delivery, destination, error.code, str(error), retry_in
            )
        )

    def succeeded(self, operation: str, *, queue: str | None = None) -> None:
        """End the trouble of this kind of call, because such a call has succeeded.

        This also shows that the queue exists. Only then does a new run count as started.
        """
        queue = queue or self._source
        self._is_found |= queue == self._source
        self._end(_kind(operation, queue))

    def delivered(self, delivery: Delivery) -> None:
        """End the trouble of this kind of delivery, because such a delivery has succeeded."""
        self._end(delivery)

    def end_old_deliveries(self) -> None:
        """End the trouble of each kind of delivery that was not tried again when it should have been.

        Its event is gone: a person has dropped the event, the event is stuck, or another process has delivered it.
        """
        for delivery in get_args(Delivery):
            next_try = self._troubles.next_try_of(delivery)
            if next_try is not None and self._clock.now() > next_try + OVERDUE_IN_SECONDS:
                self._end(delivery)

    def _end(self, kind: str) -> None:
        if self._troubles and self._troubles.end(kind) and not self._troubles:
            self._since = self._clock.now()
            self._emit(EventQueueRecovered(self._function, self._source))


def _kind(operation: str, queue: str) -> str:
    return f"{operation} {queue}"
