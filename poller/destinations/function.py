"""How is a document sent to a function of the same settings file? It becomes an event in that function's event queue.

Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations": a function that is a
destination is invoked asynchronously.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from poller.core.document import Document
from poller.destinations.messages import check_size
from poller.model.event import MAXIMUM_PAYLOAD_BYTES, Event
from poller.model.ids import FunctionName, RequestId
from poller.ports import Clock


class FunctionDestination:
    """A function of the same settings file, as `ports.Destination`. `put` stores events of the function."""

    def __init__(
        self,
        function: FunctionName,
        *,
        put: Callable[[Sequence[Event]], Awaitable[None]],
        clock: Clock,
        new_request_id: Callable[[], RequestId],
    ) -> None:
        self._function = function
        self._put = put
        self._clock = clock
        self._new_request_id = new_request_id

    async def deliver(self, document: Document) -> None:
        """Put the document into the queue as an event. If it is delivered twice, the queue gets two events."""
        check_size(len(document.text), limit_in_bytes=MAXIMUM_PAYLOAD_BYTES)
        now = self._clock.now()
        event = Event(
            request_id=self._new_request_id(),
            function=self._function,
            payload=document.text,
            accepted_at=now,
            due_at=now,
            trace=document.trace,
            traceparent=document.traceparent,
        )
        await self._put([event])
