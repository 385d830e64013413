"""What is an open function, and how is it invoked? One way for everything: batches of queues and of lanes, and events.

    async with function.gate.slot(unless=stopping) as has_slot:    in line, until it is our turn or we stop
        ...                                                        still due?  only now is the event put together
        invoked = await function.invoke(invocation, contents, …)   target ── interpret ── learn the limit of an event
    invocations.ended(invoked, retry_in=...)                       the facts (telling.py)

What becomes of a batch, and when it is tried again, is the decision of its owner, between the last two lines.
An asynchronous event is a payload without records and without a mapping: the defaults of `Contents` are for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import anyio

from poller.core.event_limit import EventLimit
from poller.core.outcome import interpret
from poller.functions.gate import FunctionGate
from poller.functions.room import FunctionRoom
from poller.model.function import Function
from poller.model.invocation import Invocation, Response
from poller.model.outcome import Outcome, Oversized
from poller.ports import Target


class Contents(NamedTuple):
    """What an invocation's event holds, and how its answer is to be read.

    `identifiers` are those of the records, by which an answer may name the failed ones; they are read at most once.
    `empty_event_bytes` is how long the event would be without its records.
    """

    records: int = 1
    identifiers: Iterable[str] = ()
    reports_item_failures: bool = False
    oldest_age_in_seconds: float = 0.0
    empty_event_bytes: int = 0


class Invoked(NamedTuple):
    """An invocation that came to an end."""

    invocation: Invocation
    contents: Contents
    response: Response
    outcome: Outcome
    duration_in_seconds: float


class OpenFunction:
    """A function whose target is open. Who opened the target closes it, after the last user has gone."""

    def __init__(self, definition: Function, target: Target) -> None:
        self.definition = definition
        self.gate = FunctionGate(definition.reserved_concurrency)
        self.room = FunctionRoom(definition.reserved_concurrency)
        self.event_limit = EventLimit()
        self._target = target

    async def invoke(self, invocation: Invocation, contents: Contents, *, began_at: float) -> Invoked:
        """Call the function once, now, within a slot of its gate. Never raises for anything that the function does."""
        assert self.gate.running > 0, "an invocation needs a slot"
        response = await self._target.invoke(invocation)
        duration = anyio.current_time() - began_at
        outcome = interpret(
            response,
            identifiers=contents.identifiers,
            reports_item_failures=contents.reports_item_failures,
            event=invocation.payload,
        )
        if isinstance(outcome, Oversized):
            self.event_limit.refused(
                len(invocation.payload), empty_bytes=contents.empty_event_bytes, now=began_at + duration
            )
        return Invoked(invocation, contents, response, outcome, duration)
