"""Why does a lane stand still, and since when?

It stands still from the first wait for a batch until that batch, or the part of it that was tried, is done; however
often it is tried in between, it is one standstill, said once, and its reason is that of the last wait.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from poller.engine.stop import Stop
from poller.model.ids import MappingName
from poller.model.stream import SequenceNumber, ShardId, StreamRecord
from poller.ports import Clock
from poller.telemetry.facts import Record, ShardBlocked, ShardUnblocked


class Standstill:
    """`reason` is a bounded word, `since` is in epoch seconds; both are None while the lane moves.

    `oldest` gives the first record that waits, if there is one.
    """

    def __init__(
        self,
        *,
        mapping: MappingName,
        shard_id: ShardId,
        oldest: Callable[[], StreamRecord | None],
        stop: Stop,
        clock: Clock,
        record: Record,
    ) -> None:
        self.reason: str | None = None
        self.since: float | None = None
        self._mapping = mapping
        self._shard_id = shard_id
        self._oldest = oldest
        self._stop = stop
        self._clock = clock
        self._record = record

    async def wait(self, seconds: float, reason: str) -> bool:
        """Stand still for so long; false when the daemon stops meanwhile."""
        self.reason = reason
        if self.since is None:
            self.since = self._clock.now()
            self._record(ShardBlocked(self._mapping, self._shard_id, reason, number_of(self._oldest())))
        with anyio.move_on_after(seconds):
            await self._stop.draining.wait()
        return not self._stop.has_begun

    def end(self) -> None:
        if self.since is not None:
            self._record(ShardUnblocked(self._mapping, self._shard_id, self._clock.now() - self.since))
            self.reason = self.since = None


def number_of(record: StreamRecord | None) -> SequenceNumber | None:
    return None if record is None else record.sequence_number
