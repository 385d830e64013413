"""Which invocations has the function of a simulation seen? It notes each one, with the worker and its fencing token.

The function succeeds, but fails for records that `blocks` names, as often as it says. An invocation is noted when it
reaches the function. The worker may be paused or dead before it sees the answer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import anyio

from poller.model.stream import ShardId
from tests.simulation.leases_process import WorkerProcess


@dataclass(eq=False, kw_only=True)
class Seen:
    """One invocation with the records `first` to `last` of a shard. `ended_at` is None while it runs.

    It has ended when the function has answered, or when the worker has cut it or has died.
    `deadline` is that of the lease when the worker sent the invocation, on anyio's clock.
    """

    process: WorkerProcess
    token: int
    shard_id: ShardId
    first: int
    last: int
    sent_at: float
    began_at: float
    deadline: float
    ended_at: float | None = None
    has_succeeded: bool = False


@dataclass(eq=False)
class RecordingFunction:
    """The function. An invocation lasts for a time within `duration_in_seconds`, and takes `latency` to get there."""

    randomness: Random
    duration_in_seconds: tuple[float, float] = (0.05, 0.5)
    latency_in_seconds: float = 0.005
    seen: list[Seen] = field(default_factory=list)
    blocks: dict[tuple[ShardId, int], int] = field(default_factory=dict)
    """How often an invocation with this record fails."""
    failures: Counter[tuple[ShardId, int]] = field(default_factory=Counter)

    async def invoke(
        self, process: WorkerProcess, token: int, shard_id: ShardId, records: range, *, deadline: float
    ) -> bool:
        """Return whether the function has succeeded."""
        sent_at = anyio.current_time()
        await anyio.sleep(self.latency_in_seconds)
        await process.turn()
        seen = Seen(
            process=process,
            token=token,
            shard_id=shard_id,
            first=records[0],
            last=records[-1],
            sent_at=sent_at,
            began_at=anyio.current_time(),
            deadline=deadline,
        )
        self.seen.append(seen)
        try:
            await anyio.sleep(self.randomness.uniform(*self.duration_in_seconds))
            seen.has_succeeded = not self._fails(shard_id, records)
        finally:
            seen.ended_at = anyio.current_time()
            await process.turn()
        return seen.has_succeeded

    def _fails(self, shard_id: ShardId, records: range) -> bool:
        for number in records:
            key = (shard_id, number)
            if self.failures[key] < self.blocks.get(key, 0):
                self.failures[key] += 1
                return True
        return False
