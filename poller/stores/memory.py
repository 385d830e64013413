"""How are positions kept that need not outlive the process? In a dict; for demos, tests, and streams read anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from anyio.lowlevel import checkpoint as turn

from poller.core.positions import place
from poller.model.stream import Beginning, Checkpoint, ShardId, StateKey
from poller.stores.notation import CheckpointMovedBack


class MemoryStore:
    """`ports.StateStore`, for as long as it is kept."""

    def __init__(self) -> None:
        self._stored: defaultdict[StateKey, dict[ShardId, Checkpoint]] = defaultdict(dict)

    async def load(self, key: StateKey) -> dict[ShardId, Checkpoint]:
        """Everything stored for a mapping in its stream."""
        await turn()
        return dict(self._stored[key])

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint]) -> None:
        """Store these, all or none."""
        await turn()
        stored = self._stored[key]
        for shard_id, checkpoint in checkpoints.items():
            before = stored.get(shard_id)
            at = place(checkpoint.position)
            if before is not None and at < place(before.position):
                raise CheckpointMovedBack(key.mapping, shard_id, stored=before.position, refused=checkpoint.position)
        stored.update(checkpoints)

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Remove what is stored for shards that are gone from the stream."""
        await turn()
        for shard_id in shard_ids:
            self._stored[key].pop(shard_id, None)

    async def starting_position(self, key: StateKey) -> Beginning | None:
        """Nobody can set one by hand here."""
        await turn()
        return None
