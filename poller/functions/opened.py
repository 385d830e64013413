"""How is a function invoked? Batches of queues, batches of lanes and asynchronous events use the same three steps.

    async with function.gate.slot(unless=stopping) as has_slot:    wait for a slot, unless the stop begins
        ...                                                        check that the batch is still due; build its event
        invoked = await function.invoke(invocation, contents, …)   call the target; interpret the answer
    invocations.ended(invoked, retry_in=...)                       report it as facts (telling.py)

Between the last two lines, the owner of the batch decides whether and when the function is invoked with it again.
If the event was too large, `invoke` lowers the function's event limit (core/event_limit.py).
An asynchronous event has no records and no mapping. For it, `Contents` has its default values.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import anyio

from poller.core.event_limit import EventLimit
from poller.core.outcome import interpret
from poller.functions.capacity import FunctionCapacity
from poller.functions.units import Units
from poller.model.function import Function
from poller.model.invocation import FunctionError, Invocation, Response
from poller.model.outcome import Outcome, Oversized
from poller.ports import Target


class Contents(NamedTuple):
    """The records in the event of an invocation, and the way in which the answer must be read.

    `records` is the number of records. `identifiers` are the ids by which an answer names failed records; the iterable
    is read at most once. `empty_event_bytes` is the size of an event without records.
    `is_strict` is the mapping's `strict_response`.
    """

    records: int = 1
    identifiers: Iterable[str] = ()
    reports_item_failures: bool = False
    oldest_age_in_seconds: float = 0.0
    empty_event_bytes: int = 0
    is_strict: bool = False


class Invoked(NamedTuple):
    """An invocation that has ended, with its answer and what the answer means."""

    invocation: Invocation
    contents: Contents
    response: Response
    outcome: Outcome
    duration_in_seconds: float


class OpenFunction:
    """A function with an open target. The task that has opened the target closes it after the last user has left."""

    def __init__(self, definition: Function, target: Target, capacity: FunctionCapacity | None = None) -> None:
        """Make an open function.

        `capacity` is that of the function that this one replaces, or None if it replaces none.
        """
        capacity = capacity or FunctionCapacity(definition.reserved_concurrency)
        capacity.resize(definition.reserved_concurrency)
        self.definition = definition
        self.capacity = capacity  # it exists as long as one of its functions is open
        self.gate = capacity.gate
        self.room = capacity.room
        self.event_limit = EventLimit()
        self.calls_waiting = 0  # calls of clients that wait for a slot (calling.py)
        self.last_log_tail: tuple[float, str] | None = None
        """The log tail of the last failed invocation that had one, and when it ended, on anyio's clock."""
        self._target = target

    async def invoke(
        self, invocation: Invocation, contents: Contents, *, began_at: float, units_of_mapping: Units | None = None
    ) -> Invoked:
        """Call the function once and return the outcome. The invocation must have a slot of the gate.

        A failure of the function is an outcome and raises nothing. `began_at` is the present time on anyio's clock.
        The invocation uses a unit of each limit that this process shares with other workers.
        """
        assert self.gate.running > 0, "an invocation needs a slot"
        if self.capacity.units is None and units_of_mapping is None:
            response = await self._target.invoke(invocation)
        else:
            response = await self._invoke_on_units(invocation, units_of_mapping)
        duration = anyio.current_time() - began_at
        if isinstance(response, FunctionError) and response.log_tail:
            self.last_log_tail = (began_at + duration, response.log_tail)
        outcome = interpret(
            response,
            identifiers=contents.identifiers,
            reports_item_failures=contents.reports_item_failures,
            is_strict=contents.is_strict,
            event=invocation.payload,
        )
        if isinstance(outcome, Oversized):
            self.event_limit.refused(
                len(invocation.payload), empty_bytes=contents.empty_event_bytes, now=began_at + duration
            )
        return Invoked(invocation, contents, response, outcome, duration)

    async def _invoke_on_units(self, invocation: Invocation, units_of_mapping: Units | None) -> Response:
        call = partial(self._target.invoke, invocation)
        for units in (self.capacity.units, units_of_mapping):
            if units is not None:
                call = partial(units.run, call)
        return await call()
