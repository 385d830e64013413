"""Is the source there? What a mapping knows of it, and how long it leaves a failing one alone.

    starting ── found ──> ready ── a call fails ──> troubled ── a call succeeds ──> ready

After each failure in a row the mapping waits longer, and one poll at a time finds out when the source is back.
What is in hand goes on meanwhile, and so do the other mappings.
"""

from __future__ import annotations

import random

import anyio

from poller.core.backoff import SOURCE
from poller.engine.stop import Stop
from poller.errors import AccessDenied, NotFound, Rejected, ServiceError, Throttled
from poller.model.ids import MappingName
from poller.model.status import MappingState
from poller.telemetry.facts import Record, SourceFailed, SourceRecovered


class SourceHealth:
    """One mapping's view of its source."""

    def __init__(self, *, mapping: MappingName, record: Record, luck: random.Random, stop: Stop) -> None:
        self.state: MappingState = "starting"
        self.reason: str | None = "the source has not been looked up yet"
        self._mapping = mapping
        self._record = record
        self._luck = luck
        self._stop = stop
        self._failures = 0

    def succeeded(self) -> None:
        if self._failures == 0 and self.state == "ready":
            return
        if self.state == "troubled":
            self._record(SourceRecovered(mapping=self._mapping))
        self._failures = 0
        self.state = "ready"
        self.reason = None

    def failed(self, operation: str, error: ServiceError) -> float:
        """Returns how long to leave the source alone, in seconds."""
        self._failures += 1
        if self.state == "ready":
            self.state = "troubled"
        self.reason = f"{operation}: {error.code}: {error}"
        delay = SOURCE.delay(self._failures, self._luck)
        if isinstance(error, Throttled) and error.retry_after is not None:
            delay = max(delay, error.retry_after)
        self._record(
            SourceFailed(
                mapping=self._mapping,
                operation=operation,
                code=error.code,
                detail=str(error),
                retry_in=delay,
                is_lasting=isinstance(error, NotFound | AccessDenied | Rejected),
            )
        )
        return delay

    async def pause(self, delay: float) -> None:
        """Wait, unless the daemon stops. No time or less than none is no wait."""
        if delay <= 0:
            return
        with anyio.move_on_after(delay):
            await self._stop.draining.wait()
