"""Is the source there? What a mapping knows of it, and how long it leaves a failing one alone.

    starting ── found ──> ready ── a call fails ──> troubled ── the same kind of call succeeds ──> ready

Each operation has its own trouble: a queue that can be read but not deleted from is no healthy one.
So has each shard, of which one may be unreadable while the others go well; that its reads are throttled is no trouble
until it lasts, for readers share what Kinesis allows, and a single large read uses up five seconds of it.
After each failure in a row the mapping waits longer, and one poll at a time finds out when the source is back; calls
that were on their way together fail together, and count once.
What is in hand goes on meanwhile, and so do the other mappings.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import anyio

from poller.core.backoff import SOURCE, THROTTLED_READ, at_least
from poller.engine.stop import Stop
from poller.errors import LASTING, ServiceError, Throttled
from poller.facts import Emit, ReadThrottled, SourceFailed, SourceRecovered
from poller.model.arn import Arn
from poller.model.ids import MappingName
from poller.model.status import Health, MappingState
from poller.model.stream import ShardId
from poller.ports import Clock

THROTTLED_READS = 10
"""How many throttled reads of a shard in a row are a trouble; ours, half a minute without a record."""

SHOWN_TROUBLES = 3
"""How many different troubles the reason names."""


class Trouble(NamedTuple):
    """One failing operation: why, since when, its tries in a row, and the next try. Times are in epoch seconds."""

    reason: str
    since: float
    attempt: int
    next_try: float


class SourceHealth:
    """One mapping's view of its source. Reasons and log lines name the source by its ARN."""

    def __init__(
        self, *, mapping: MappingName, source: Arn, clock: Clock, emit: Emit, randomness: random.Random, stop: Stop
    ) -> None:
        self._mapping = mapping
        self._source = str(source)
        self._clock = clock
        self._emit = emit
        self._randomness = randomness
        self._stop = stop
        self._is_found = False
        self._since = clock.now()
        self._troubles: dict[str, Trouble] = {}
        self._failures = 0
        self._failed_at = 0.0
        self._delay = 0.0

    @property
    def state(self) -> MappingState:
        if not self._is_found:
            return "starting"
        return "troubled" if self._troubles else "ready"

    @property
    def reason(self) -> str | None:
        if self._troubles:
            different = list(dict.fromkeys(trouble.reason for trouble in self._troubles.values()))
            more = f"; and {len(different) - SHOWN_TROUBLES} more" if len(different) > SHOWN_TROUBLES else ""
            return f"{'; '.join(different[:SHOWN_TROUBLES])}{more} ({self._source})"
        return None if self._is_found else "the source has not been looked up yet"

    @property
    def health(self) -> Health:
        """With several troubles: the earliest next try, and the highest number of tries."""
        troubles = self._troubles.values()
        if not troubles:
            return Health(self.state, self.reason, self._since)
        return Health(
            self.state,
            self.reason,
            since=min(trouble.since for trouble in troubles),
            attempt=max(trouble.attempt for trouble in troubles),
            next_try=min(trouble.next_try for trouble in troubles),
        )

    def found(self) -> None:
        self._is_found = True
        self._since = self._clock.now()
        self._troubles.clear()
        self._failures = 0

    def succeeded(self, operation: str) -> None:
        if self._troubles and self._troubles.pop(operation, None) is not None:
            self._failures = 0
            self._say_if_recovered()

    def failed(self, operation: str, error: ServiceError, *, asked_at: float) -> float:
        """Returns how long to leave the source alone, in seconds. `asked_at` is when the call began."""
        if asked_at >= self._failed_at:
            self._failures += 1
            self._failed_at = anyio.current_time()
            own = SOURCE.delay(self._failures, self._randomness)
            self._delay = at_least(error.retry_after if isinstance(error, Throttled) else None, own)
        self._say(operation, error, self._delay)
        return self._delay

    def background_failure(self, operation: str, error: ServiceError, *, retry_in: float) -> None:
        """A call beside the polls failed, and is tried again by itself; only what lasts is a trouble of the source."""
        if isinstance(error, LASTING):
            self._say(operation, error, retry_in)

    def read_failed(self, shard_id: ShardId, error: ServiceError, *, in_a_row: int) -> float:
        """A read of a shard did not go through, so often in a row. Returns how long to leave the shard alone."""
        if isinstance(error, Throttled):
            delay = at_least(error.retry_after, THROTTLED_READ.delay(in_a_row, self._randomness))
            if in_a_row < THROTTLED_READS:
                self._emit(ReadThrottled(self._mapping, error.code))
                return delay
        else:
            delay = SOURCE.delay(in_a_row, self._randomness)
        self._say("GetRecords", error, delay, of=shard_id)
        return delay

    def read_succeeded(self, shard_id: ShardId) -> None:
        if self._troubles:
            self._end_of(f"GetRecords {shard_id}")

    async def pause(self, delay: float) -> None:
        """Wait, unless the daemon stops. No time or less than none is no wait."""
        if delay <= 0:
            return
        with anyio.move_on_after(delay):
            await self._stop.draining.wait()

    def _end_of(self, trouble: str) -> None:
        if self._troubles.pop(trouble, None) is not None:
            self._say_if_recovered()

    def _say_if_recovered(self) -> None:
        if self.state == "ready":
            self._since = self._clock.now()
            self._emit(SourceRecovered(mapping=self._mapping))

    def _say(self, operation: str, error: ServiceError, retry_in: float, *, of: str = "") -> None:
        now, kind = self._clock.now(), f"{operation} {of}" if of else operation
        before = self._troubles.get(kind)
        self._troubles[kind] = Trouble(
            reason=_in_words(operation, error),
            since=now if before is None else before.since,
            attempt=1 if before is None else before.attempt + 1,
            next_try=now + retry_in,
        )
        self._emit(
            SourceFailed(
                mapping=self._mapping,
                source=self._source,
                operation=operation,
                code=error.code,
                detail=str(error),
                retry_in_seconds=retry_in,
                is_lasting=isinstance(error, LASTING),
            )
        )


def _in_words(operation: str, error: ServiceError) -> str:
    """AWS's own messages begin with the code."""
    text = str(error)
    return f"{operation}: {text}" if text.startswith(error.code) else f"{operation}: {error.code}: {text}"
