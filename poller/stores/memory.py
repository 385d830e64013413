"""How are positions kept that need not outlive the process? In a dict; for demos, tests, and streams read anew."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from anyio.lowlevel import checkpoint as turn

from poller.core.streams.positions import rank
from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, ShardEnd, ShardId, StartingPosition, StateKey
from poller.stores.notation import CheckpointMovedBack


class MemoryStore:
    """`ports.CheckpointStore` in this process's memory. `now` gives epoch seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._saved_at: defaultdict[StateKey, dict[ShardId, float]] = defaultdict(dict)
        self._stored: defaultdict[StateKey, dict[ShardId, Checkpoint]] = defaultdict(dict)

    async def load(self, key: StateKey) -> dict[ShardId, Checkpoint]:
        """Everything stored for a mapping in its stream."""
        await turn()
        return dict(self._stored[key])

    async def drained_at(self, key: StateKey) -> dict[ShardId, float]:
        """When each shard was stored as drained, in epoch seconds."""
        await turn()
        saved_at = self._saved_at[key]
        return {shard_id: saved_at[shard_id] for shard_id, at in self._stored[key].items() if at.position == ShardEnd()}

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint]) -> None:
        """Store these, all or none."""
        await turn()
        stored = self._stored[key]
        for shard_id, checkpoint in checkpoints.items():
            before = stored.get(shard_id)
            at = rank(checkpoint.position)
            if before is not None and at < rank(before.position):
                raise CheckpointMovedBack(key.mapping, shard_id, stored=before.position, refused=checkpoint.position)
        stored.update(checkpoints)
        self._saved_at[key].update(dict.fromkeys(checkpoints, self._now()))

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Remove what is stored for these shards."""
        await turn()
        for shard_id in shard_ids:
            self._stored[key].pop(shard_id, None)
            self._saved_at[key].pop(shard_id, None)

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """Nobody can set one by hand here."""
        await turn()
        return None


class MemoryPauses:
    """`ports.PauseStore` in this process's memory."""

    def __init__(self) -> None:
        self._paused: set[MappingName] = set()

    async def load(self) -> frozenset[MappingName]:
        await turn()
        return frozenset(self._paused)

    async def pause(self, mapping: MappingName) -> None:
        await turn()
        self._paused.add(mapping)

    async def resume(self, mapping: MappingName) -> None:
        await turn()
        self._paused.discard(mapping)
