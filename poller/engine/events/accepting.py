"""How is an event accepted? The daemon stores the event in the function's event queue, and then answers the sender.

    a client of Lambda's API ────────┐
    `poller invoke --event` ─────────┼──> accept ──(stored durably)──> the request id
    another function's destination ──┘

Every attempt with an event has the same request id, and so have the invocation records about the event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from poller.errors import ServiceError
from poller.facts import Emit, EventsRefused, EventsStored
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from poller.ports import Clock, EventQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptor:
    """Accepts events for the functions of the daemon.

    `queue_of` opens the event queue of a function. It raises Rejected if the settings allow no events.
    """

    queue_of: Callable[[FunctionName], AbstractAsyncContextManager[EventQueue]]
    clock: Clock
    emit: Emit

    async def accept(
        self,
        function: FunctionName,
        payload: bytes,
        *,
        request_id: RequestId,
        invoked_arn: str | None = None,
        trace: str = "",
        traceparent: str = "",
    ) -> None:
        """Store an event durably in the function's event queue.

        Raises QueueFull if the queue has no room, Rejected if the queue can never store this event, and Unreachable or
        another ServiceError if the queue fails. After a ServiceError, the event may have been stored or not.
        """
        now = self.clock.now()
        event = Event(
            request_id=request_id,
            function=function,
            payload=payload,
            accepted_at=now,
            due_at=now,
            invoked_arn=invoked_arn,
            trace=trace,
            traceparent=traceparent,
        )
        await self.put([event])

    async def put(self, events: Sequence[Event]) -> None:
        """Store events of one function. Raises the same errors as `accept`."""
        function = events[0].function
        assert all(event.function == function for event in events), "one call stores events of one function"
        try:
            async with self.queue_of(function) as queue:
                await queue.put(events)
        except ServiceError as error:
            self.emit(EventsRefused(function, len(events), error.code, str(error)))
            raise
        self.emit(EventsStored(function, len(events)))
