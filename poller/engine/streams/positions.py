"""How does a run of a stream mapping use the position store? It repeats calls that fail, and notices other writers.

Each call is repeated until it succeeds. So the lineage in memory never has a change that is not stored.
Each stored checkpoint of a shard has a version. The run writes the next version after the one that it has read
(core/streams/claims.py).
If another writer has stored this version, the run has lost the shard: it stops reading the shard and never stores a
checkpoint of it again, because the other writer may have read further.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import anyio

from poller.engine.streams.store_health import StoreHealth
from poller.facts import Emit, ShardLost
from poller.model.stream import Checkpoint, Claim, ShardId, StartingPosition, StateKey, StoredCheckpoint, WriterId
from poller.ports import CheckpointStore


class _Load(NamedTuple):
    """A load that has ended: its number, counted from 1, and what it found."""

    number: int
    stored: Mapping[ShardId, StoredCheckpoint]


class StoredPositions:
    """The stored positions of one mapping. Calls `on_loss` once for each shard that another writer has taken."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        key: StateKey,
        writer: WriterId,
        health: StoreHealth,
        emit: Emit,
        on_loss: Callable[[ShardId], None],
    ) -> None:
        self._store = store
        self._key = key
        self._versions: dict[ShardId, int] = {}
        self._claim = Claim(writer, self._versions)
        self._lost: set[ShardId] = set()
        self._loads_begun = 0
        self._last_load = _Load(0, {})
        self._loading = anyio.Lock()
        self._until_done = health.until_done
        self._emit = emit
        self._on_loss = on_loss

    def is_lost(self, shard_id: ShardId) -> bool:
        return shard_id in self._lost

    async def load(self) -> dict[ShardId, StoredCheckpoint]:
        stored = await self._until_done("load", lambda: self._store.load(self._key))
        self._versions.update((shard_id, row.version + 1) for shard_id, row in stored.items())
        return stored

    async def load_shard(self, shard_id: ShardId) -> Checkpoint:
        """Load the checkpoint of one shard again, after an earlier run of the mapping has stored it.

        All calls that come during a load share the next load, because an old run may free a thousand shards at once.
        """
        begun_before = self._loads_begun
        async with self._loading:
            if self._last_load.number <= begun_before:  # the load that runs may have begun before the shard was stored
                self._loads_begun += 1
                stored = await self._until_done("load", lambda: self._store.load(self._key))
                self._last_load = _Load(self._loads_begun, stored)
        row = self._last_load.stored[shard_id]
        self._versions[shard_id] = row.version + 1
        return row.checkpoint

    async def starting_position(self) -> StartingPosition | None:
        return await self._until_done("starting_position", lambda: self._store.starting_position(self._key))

    async def save(self, checkpoints: Mapping[ShardId, Checkpoint]) -> None:
        await self._until_done("save", lambda: self.save_once(checkpoints))

    async def save_once(self, checkpoints: Mapping[ShardId, Checkpoint]) -> None:
        """Save the checkpoints with one try.

        After a ServiceError they may be stored or not, and the save can be repeated.
        """
        kept = {shard_id: one for shard_id, one in checkpoints.items() if shard_id not in self._lost}
        for shard_id in sorted(await self._store.save(self._key, kept, self._claim) - self._lost):
            self._lost.add(shard_id)
            self._emit(ShardLost(self._key.mapping, shard_id))
            self._on_loss(shard_id)

    async def forget(self, shard_ids: Collection[ShardId]) -> None:
        await self._until_done("forget", lambda: self._store.forget(self._key, shard_ids))
        for shard_id in shard_ids:
            self._versions.pop(shard_id, None)
