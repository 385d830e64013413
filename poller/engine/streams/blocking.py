"""Why is a lane blocked, and since when?

A lane is blocked from its first wait for another attempt until its next records are done.
It waits after a failed or postponed invocation, while a destination fails, or when a record is too large for any event.
The log says only once that the lane is blocked, even if many attempts follow.
The status has the reason and the records of the last attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from poller.core.streams.retry import Deliverable, Wait
from poller.engine.stop import Stop
from poller.facts import Emit, ShardBlocked, ShardUnblocked
from poller.model.ids import MappingName
from poller.model.status import BlockedShard
from poller.model.stream import SequenceNumber, ShardId
from poller.ports import Clock

DETAIL_LIMIT_IN_CHARACTERS = 1024
"""A status shows at most so many characters of an error message from a function or a destination."""


class LaneBlock:
    """The block of one lane. `blocked` says why the lane is blocked; None if it is not blocked."""

    def __init__(self, *, mapping: MappingName, shard_id: ShardId, stop: Stop, clock: Clock, emit: Emit) -> None:
        self.blocked: BlockedShard | None = None
        self._mapping = mapping
        self._shard_id = shard_id
        self._stop = stop
        self._clock = clock
        self._emit = emit

    async def wait(self, wait: Wait, records: Sequence[Deliverable]) -> bool:
        """Wait until the next attempt with these records is due. Return False if the stop begins during the wait."""
        before, count, ends = self.blocked, len(records), ends_of(records)
        since = self._clock.now() if before is None else before.since
        reason, detail = wait.reason, wait.detail[:DETAIL_LIMIT_IN_CHARACTERS]
        self.blocked = BlockedShard(self._shard_id, reason, since, count, *ends, detail)
        if before is None:
            self._emit(ShardBlocked(self._mapping, self._shard_id, reason, count, *ends, detail))
        await self._stop.sleep(wait.seconds)
        return not self._stop.has_begun

    def end(self) -> None:
        if self.blocked is not None:
            self._emit(ShardUnblocked(self._mapping, self._shard_id, self._clock.now() - self.blocked.since))
            self.blocked = None


def ends_of(records: Sequence[Deliverable]) -> tuple[SequenceNumber | None, SequenceNumber | None]:
    """Return the first and the last sequence number.

    Both are None for a window's last invocation, which has no records.
    """
    return (records[0].sequence_number, records[-1].sequence_number) if records else (None, None)
