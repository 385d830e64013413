"""How do tests save positions if versions do not matter? As the first and only writer of each shard."""

from __future__ import annotations

from collections.abc import Mapping

from poller.model.stream import Checkpoint, Claim, ShardId, StateKey, WriterId
from poller.ports import CheckpointStore

FIRST = Claim(WriterId("first"), {})


async def save(store: CheckpointStore, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint]) -> None:
    lost = await store.save(key, checkpoints, FIRST)
    assert not lost, lost


async def load(store: CheckpointStore, key: StateKey) -> dict[ShardId, Checkpoint]:
    return {shard_id: row.checkpoint for shard_id, row in (await store.load(key)).items()}
