"""Which run may read a shard? One at a time, over all runs of a mapping.

An old run may still have records of a shard in hand when the next run begins.  It holds the shard until its last
checkpoint is stored; the next run waits for that, and goes on from there.
The whole shard waits, not a lane alone: a shard has one checkpoint for all its lanes, so two runs of it would repeat
records, and the later checkpoint could move back.
"""

from __future__ import annotations

import anyio

from poller.model.stream import ShardId


class ShardsInHand:
    """The shards of one mapping that some run of it holds."""

    def __init__(self) -> None:
        self._held: dict[ShardId, anyio.Event] = {}

    @property
    def held(self) -> frozenset[ShardId]:
        return frozenset(self._held)

    def take(self, shard_id: ShardId) -> bool:
        """Take the shard at once; false if an old run holds it."""
        if shard_id in self._held:
            return False
        self._held[shard_id] = anyio.Event()
        return True

    async def wait_for(self, shard_id: ShardId) -> None:
        """Wait until the shard is free, and take it."""
        while not self.take(shard_id):
            await self._held[shard_id].wait()

    def free(self, shard_id: ShardId) -> None:
        self._held.pop(shard_id).set()
