"""Which run of a mapping may read a shard? Only one run at a time.

An old run may still have records of a shard in hand when the next run begins. The old run holds the shard until it has
stored the shard's last checkpoint. Then the next run reads the shard from that checkpoint.
The next run waits for the whole shard and not for single lanes, because all lanes of a shard share one checkpoint. Two
runs would repeat records, and the checkpoint could move backwards.
"""

from __future__ import annotations

import anyio

from poller.model.stream import ShardId


class ShardsInHand:
    """The shards of one mapping that its runs hold."""

    def __init__(self) -> None:
        self._held: dict[ShardId, anyio.Event] = {}

    @property
    def held(self) -> frozenset[ShardId]:
        return frozenset(self._held)

    def take(self, shard_id: ShardId) -> bool:
        """Take the shard at once. Return False if a run holds it."""
        if shard_id in self._held:
            return False
        self._held[shard_id] = anyio.Event()
        return True

    async def wait_for(self, shard_id: ShardId) -> None:
        """Wait until no run holds the shard, and take it."""
        while not self.take(shard_id):
            await self._held[shard_id].wait()

    def free(self, shard_id: ShardId) -> None:
        self._held.pop(shard_id).set()
