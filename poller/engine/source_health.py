"""Does the source of a mapping work, and what is wrong with it? The mapping knows this from its own calls.

    starting ── found ──> ready ── a call fails ──> troubled ── the same kind of call succeeds ──> ready

Each operation has a trouble of its own, because a queue is not healthy if receives succeed and deletes fail.
Each shard also has a trouble of its own, because reads of one shard may fail while reads of the other shards succeed.
A single throttled read is not a trouble: all readers of a shard share its limit, and after one large read, a shard may
throttle reads for five seconds. `source_pauses.py` decides how long a mapping waits after its source has failed.
"""

from __future__ import annotations

from poller.engine.troubles import Troubles, in_words
from poller.errors import LASTING, ServiceError, Throttled
from poller.facts import Emit, ReadThrottled, SourceFailed, SourceRecovered
from poller.model.arn import Arn
from poller.model.ids import MappingName
from poller.model.status import Health, MappingState
from poller.model.stream import ShardId
from poller.ports import Clock

THROTTLED_READS = 10
"""After this number of throttled reads in a row, a shard is in trouble. They take about half a minute.

AWS has no such number.
"""


class SourceHealth:
    """One mapping's view of its source. Reasons and log lines name the source by its ARN."""

    def __init__(self, *, mapping: MappingName, source: Arn, clock: Clock, emit: Emit) -> None:
        self._mapping = mapping
        self._source = str(source)
        self._clock = clock
        self._emit = emit
        self._is_found = False
        self._waits_for: str | None = None
        self._since = clock.now()
        self._troubles = Troubles()

    @property
    def state(self) -> MappingState:
        if not self._is_found:
            return "starting"
        return "troubled" if self._troubles else "ready"

    @property
    def reason(self) -> str | None:
        if self._troubles:
            return f"{self._troubles.reason} ({self._source})"
        return None if self._is_found else self._waits_for or "the source has not been looked up yet"

    @property
    def health(self) -> Health:
        if self._troubles:
            return self._troubles.health(self.state, self.reason)
        return Health(self.state, self.reason, self._since)

    def waits(self, reason: str | None) -> None:
        """Note what the mapping waits for before it looks its source up, or None if it waits no more."""
        self._waits_for = reason

    def found(self) -> None:
        self._is_found = True
        self._since = self._clock.now()
        self._troubles.clear()

    def succeeded(self, operation: str) -> None:
        if self._troubles and self._troubles.end(operation):
            self._report_recovery()

    def failed(self, operation: str, error: ServiceError, *, retry_in: float) -> None:
        self._fail(operation, operation, error, retry_in)

    def background_failure(self, operation: str, error: ServiceError, *, retry_in: float) -> None:
        """Report the failure of a call that is not a poll. The mapping polls on without a pause.

        An error that may pass by itself is ignored: only errors in `errors.LASTING` are troubles here.
        """
        if isinstance(error, LASTING):
            self._fail(operation, operation, error, retry_in)

    def read_failed(self, shard_id: ShardId, error: ServiceError, *, in_a_row: int, retry_in: float) -> None:
        """Report a failed read of a shard. `in_a_row` counts the shard's failed reads since its last success.

        A throttled read becomes a trouble only after THROTTLED_READS failures in a row.
        """
        if isinstance(error, Throttled) and in_a_row < THROTTLED_READS:
            self._emit(ReadThrottled(self._mapping, shard_id, error.code, retry_in))
        else:
            self._fail(f"GetRecords {shard_id}", "GetRecords", error, retry_in)

    def read_succeeded(self, shard_id: ShardId) -> None:
        if self._troubles:
            self.succeeded(f"GetRecords {shard_id}")

    def _report_recovery(self) -> None:
        if self.state == "ready":
            self._since = self._clock.now()
            self._emit(SourceRecovered(mapping=self._mapping))

    def _fail(self, kind: str, operation: str, error: ServiceError, retry_in: float) -> None:
        self._troubles.failed(kind, operation, in_words(error), now=self._clock.now(), retry_in=retry_in)
        self._emit(
            SourceFailed(
                mapping=self._mapping,
                source=self._source,
                operation=operation,
                code=error.code,
                detail=str(error),
                retry_in_seconds=retry_in,
                needs_action=isinstance(error, LASTING),
            )
        )
