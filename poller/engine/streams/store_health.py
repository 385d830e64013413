"""Does the position store work? A mapping knows this from its own calls, and repeats calls that fail.

    working ── a call fails ──> troubled ── the same kind of call succeeds ──> working

While the store fails, the mapping continues to read its source. Failures of the source are counted separately.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import anyio

from poller.core.backoff import STORE, at_least
from poller.engine.troubles import Troubles
from poller.errors import LASTING, ServiceError, Throttled
from poller.facts import Emit, StoreFailed, StoreRecovered
from poller.model.ids import MappingName
from poller.model.status import Health
from poller.ports import Clock

Operation = Literal["load", "save", "forget", "starting_position"]
"""The methods of `ports.CheckpointStore`."""

T = TypeVar("T")


class StoreHealth:
    """One mapping's view of the store."""

    def __init__(self, *, mapping: MappingName, clock: Clock, emit: Emit, randomness: random.Random) -> None:
        self._mapping = mapping
        self._clock = clock
        self._emit = emit
        self._randomness = randomness
        self._troubles = Troubles()
        self._recovered_at = 0.0

    async def until_done(self, operation: Operation, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the call until it succeeds, and return its answer.

        The pause after a failure grows each time, and is at least as long as the store asks for.
        """
        failures = 0
        while True:
            try:
                answer = await call()
            except ServiceError as error:
                failures += 1
                asked_for = error.retry_after if isinstance(error, Throttled) else None
                delay = at_least(asked_for, STORE.delay(failures, self._randomness))
                self._failed(operation, error, delay)
                await anyio.sleep(delay)
            else:
                self._succeeded(operation)
                return answer

    def together_with(self, source: Health) -> Health:
        """Return one health for source and store. If both fail, it has the times of the source's trouble."""
        if not self._troubles:
            return source._replace(since=max(source.since or 0.0, self._recovered_at))
        reason = self._troubles.reason
        if source.attempt is not None:
            return source._replace(reason=f"{source.reason}; {reason}")
        return self._troubles.health("troubled" if source.state == "ready" else source.state, reason)

    def _failed(self, operation: Operation, error: ServiceError, delay: float) -> None:
        reason = f"the position store fails: {operation}: {error}"
        self._troubles.failed(operation, reason, now=self._clock.now(), retry_in=delay)
        self._emit(
            StoreFailed(
                mapping=self._mapping,
                operation=operation,
                code=error.code,
                detail=str(error),
                retry_in_seconds=delay,
                needs_action=isinstance(error, LASTING),
            )
        )

    def _succeeded(self, operation: Operation) -> None:
        if self._troubles.end(operation) and not self._troubles:
            self._recovered_at = self._clock.now()
            self._emit(StoreRecovered(self._mapping))
