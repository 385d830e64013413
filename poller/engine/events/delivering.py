"""How is an ended asynchronous event reported to its destinations and its dead-letter queue?

All of them get their documents at the same time.

A delivery that succeeded is removed from the event at once, so that it is not repeated after a stop.
If the invocation record is too large for its destination, it is sent without the function's answer. If it is still too
large, it is sent without the event's payload, too.
core/events/deliveries.py decides when the failed deliveries are tried again, and when the event is stuck.

Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations".
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import anyio

from poller.core.document import Document
from poller.core.events.deliveries import after_deliveries
from poller.core.events.record import dead_letter_of, records_of
from poller.engine.events.claims import Claim
from poller.engine.events.health import EventHealth
from poller.errors import DocumentTooLarge, ServiceError
from poller.facts import Emit, EventDelivered, EventRecordShortened, EventStuck
from poller.model.event import Delivery, Ending, Event
from poller.model.function import Function
from poller.ports import Clock, Destination


class NamedDestination(NamedTuple):
    """A destination or a dead-letter queue, with its name for log lines: an ARN, or the name of a function."""

    name: str
    destination: Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Delivers the ended events of one function. `destinations` has the destinations that the settings name."""

    function: Function
    destinations: Mapping[Delivery, NamedDestination]
    health: EventHealth
    clock: Clock
    randomness: random.Random
    emit: Emit

    async def deliver(self, claim: Claim) -> None:
        """Try each delivery that the claim's event still needs. The event keeps the deliveries that failed.

        A delivery is dropped if the settings do not name its destination any more.
        """
        failures: dict[Delivery, ServiceError] = {}
        async with anyio.create_task_group() as tasks:
            for delivery in _ending(claim.event).deliveries:
                tasks.start_soon(self._deliver, claim, delivery, failures)
        now = self.clock.now()
        event = after_deliveries(claim.event, failures, now=now, randomness=self.randomness)
        if event is not None:
            claim.event = event
            self._say_what_failed(event, failures, now)

    async def _deliver(self, claim: Claim, delivery: Delivery, failures: dict[Delivery, ServiceError]) -> None:
        event, destination = claim.event, self.destinations.get(delivery)
        if destination is not None:
            try:
                is_short = await _send(destination.destination, self._documents(event, delivery))
            except ServiceError as error:
                failures[delivery] = error
                return
            self.health.delivered(delivery)
            self.emit(EventDelivered(event.function, event.request_id, delivery, destination.name))
            if is_short:
                self.emit(EventRecordShortened(event.function, event.request_id, delivery, destination.name))
        claim.event = _crossed_out(claim.event, delivery)

    def _documents(self, event: Event, delivery: Delivery) -> Iterable[Document]:
        if delivery == "dead_letter":
            return [dead_letter_of(event, self.function)]
        return records_of(event, self.function)

    def _say_what_failed(self, event: Event, failures: Mapping[Delivery, ServiceError], now: float) -> None:
        retry_in = None if event.stuck else event.due_at - now
        for delivery, error in failures.items():
            self.health.delivery_failed(event, delivery, self.destinations[delivery].name, error, retry_in=retry_in)
        if event.stuck:
            refusing = tuple(self.destinations[delivery].name for delivery in failures)
            self.emit(EventStuck(event.function, event.request_id, _ending(event).condition, refusing, event.stuck))


async def _send(destination: Destination, documents: Iterable[Document]) -> bool:
    """Send the first document that the destination does not reject as too large. Return True if it is a smaller one.

    Raises the error of the last document if all documents are too large.
    """
    error: DocumentTooLarge | None = None
    for document in documents:
        try:
            await destination.deliver(document)
        except DocumentTooLarge as too_large:
            error = too_large
            continue
        return error is not None
    assert error is not None, "there is at least one document"
    raise error


def _ending(event: Event) -> Ending:
    assert event.ending is not None, "only an ended event is delivered"
    return event.ending


def _crossed_out(event: Event, delivery: Delivery) -> Event:
    ending = _ending(event)
    return replace(
        event, ending=replace(ending, deliveries=tuple(each for each in ending.deliveries if each != delivery))
    )
