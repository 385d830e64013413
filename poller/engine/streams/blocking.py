"""Why does a lane stand still, and since when?

It stands still from the first wait for a batch until that batch, or the part of it that was tried, is done; however
often it is tried in between, it is one standstill, said once, and reason and records are those of the last wait.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.core.streams.retry import Deliverable, Wait
from poller.engine.stop import Stop
from poller.facts import Record, ShardBlocked, ShardUnblocked
from poller.model.ids import MappingName
from poller.model.status import BlockedShard
from poller.model.stream import SequenceNumber, ShardId
from poller.ports import Clock

DETAIL_LIMIT_IN_CHARACTERS = 1024
"""How much a status shows of an error message of a function or a destination."""


class Standstill:
    """`blocked` says why the lane stands still; None while it moves."""

    def __init__(self, *, mapping: MappingName, shard_id: ShardId, stop: Stop, clock: Clock, record: Record) -> None:
        self.blocked: BlockedShard | None = None
        self._mapping = mapping
        self._shard_id = shard_id
        self._stop = stop
        self._clock = clock
        self._record = record

    async def wait(self, wait: Wait, records: Sequence[Deliverable]) -> bool:
        """Stand still for so long with these records; false when the daemon stops meanwhile."""
        before, count, ends = self.blocked, len(records), ends_of(records)
        since = self._clock.now() if before is None else before.since
        reason, detail = wait.reason, wait.detail[:DETAIL_LIMIT_IN_CHARACTERS]
        self.blocked = BlockedShard(self._shard_id, reason, since, count, *ends, detail)
        if before is None:
            self._record(ShardBlocked(self._mapping, self._shard_id, reason, count, *ends, detail))
        with anyio.move_on_after(wait.seconds):
            await self._stop.draining.wait()
        return not self._stop.has_begun

    def end(self) -> None:
        if self.blocked is not None:
            self._record(ShardUnblocked(self._mapping, self._shard_id, self._clock.now() - self.blocked.since))
            self.blocked = None


def ends_of(records: Sequence[Deliverable]) -> tuple[SequenceNumber | None, SequenceNumber | None]:
    """The first and the last sequence number; a window's last invocation has no records."""
    return (records[0].sequence_number, records[-1].sequence_number) if records else (None, None)
