"""Why is a lane blocked, and since when?

A lane is blocked from its first wait for another attempt until its next records are done.
It waits after a failed or postponed invocation, while a destination fails, or when a record is too large for any event.
The log says only once that the lane is blocked, even if many attempts follow.
The status has the reason and the records of the last attempt.
A person's order ends the wait (`orders.py`).
The lease of the shard has the attempts and the age of the block, for the next worker that reads the shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import anyio

from poller.core.streams.retry import Wait
from poller.engine.leases.lease import Lease
from poller.engine.stop import Stop
from poller.facts import Emit, ShardBlocked, ShardUnblocked
from poller.model.ids import MappingName
from poller.model.order import Action, Ends
from poller.model.status import BLOCKED_KEYS_SHOWN, BlockedShard
from poller.model.stream import ShardId, StreamRecord
from poller.ports import Clock

DETAIL_LIMIT_IN_CHARACTERS = 1024
"""A status shows at most this many characters of an error message from a function or a destination."""

KEY_LIMIT_IN_CHARACTERS = 128
"""A status shows at most this many characters of the key of a record."""


class LaneBlock:
    """The block of one lane. `blocked` says why the lane is blocked; None if it is not blocked.

    `is_function_error` tells whether the function has failed with an error of its own. The lane sets it after each
    invocation, and the report of a discarded batch sets it to false when the destination fails.
    """

    def __init__(
        self, lease: Lease, *, mapping: MappingName, shard_id: ShardId, stop: Stop, clock: Clock, emit: Emit
    ) -> None:
        self.blocked: BlockedShard | None = None
        self.is_function_error = False
        self._lease = lease
        self._mapping = mapping
        self._shard_id = shard_id
        self._stop = stop
        self._clock = clock
        self._emit = emit
        self._may_go_on = anyio.Event()

    async def wait(
        self, wait: Wait, records: Sequence[StreamRecord], *, attempt: int, actions: tuple[Action, ...]
    ) -> bool:
        """Wait until the next attempt with these records is due, or until `go_on`.

        Returns False if the stop comes first. `attempt` is the number of attempts that have failed in a row, and
        `actions` are what a person may order.
        """
        before, now = self.blocked, self._clock.now()
        (start, end), count = ends_of(records), len(records)
        reason, detail = wait.reason, wait.detail[:DETAIL_LIMIT_IN_CHARACTERS]
        self.blocked = BlockedShard(
            self._shard_id,
            reason,
            since=self._lease.blocked_since(start, now=now) if before is None else before.since,
            records=count,
            start_sequence_number=start,
            end_sequence_number=end,
            detail=detail,
            keys=_keys(records),
            oldest_arrived_at=records[0].arrived_at if records else None,
            attempt=attempt,
            next_try=now + wait.seconds,
            actions=actions,
            is_function_error=self.is_function_error,
        )
        if before is None:
            self._emit(ShardBlocked(self._mapping, self._shard_id, reason, count, start, end, detail))
        self._may_go_on = anyio.Event()
        with anyio.move_on_after(wait.seconds):
            await self._stop.before(self._may_go_on)
        return not self._stop.has_begun

    def go_on(self) -> None:
        """End the wait of `wait`. If the lane does not wait now, nothing happens."""
        self._may_go_on.set()

    def end(self) -> None:
        if self.blocked is not None:
            self._emit(ShardUnblocked(self._mapping, self._shard_id, self._clock.now() - self.blocked.since))
            self.blocked = None


def ends_of(records: Sequence[StreamRecord]) -> Ends:
    """Return the first and the last sequence number.

    Both are None for a window's last invocation, which has no records.
    """
    return (records[0].sequence_number, records[-1].sequence_number) if records else (None, None)


def _keys(records: Sequence[StreamRecord]) -> tuple[str, ...]:
    """Return a few keys of the records, each key once. Half a surrogate pair, which UTF-8 lacks, becomes `?`."""
    different = dict.fromkeys(record.lane_key[:KEY_LIMIT_IN_CHARACTERS] for record in records)
    return tuple(key.encode(errors="replace").decode() for key in islice(different, BLOCKED_KEYS_SHOWN))
