"""Where are positions stored if they need not survive the process? In a dict.

It serves demos, tests, and streams that the daemon reads from the starting position after each start.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from anyio.lowlevel import checkpoint as turn

from poller.core.streams.claims import may_store
from poller.core.streams.positions import rank
from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Claim, ShardId, StartingPosition, StateKey, StoredCheckpoint, WriterId
from poller.stores.notation import CheckpointMovedBack


class Row(NamedTuple):
    stored: StoredCheckpoint
    writer: WriterId


class MemoryStore:
    """`ports.CheckpointStore` in this process's memory. `now` gives epoch seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._rows: defaultdict[StateKey, dict[ShardId, Row]] = defaultdict(dict)

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        """Return all stored checkpoints of a mapping in one stream."""
        await turn()
        return {shard_id: row.stored for shard_id, row in self._rows[key].items()}

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        """Store the checkpoints, apart from those of lost shards, whose ids are returned.

        Raises CheckpointMovedBack, and then stores none.
        """
        await turn()
        rows, now = self._rows[key], self._now()
        new: dict[ShardId, Row] = {}
        for shard_id, checkpoint in checkpoints.items():
            before, version = rows.get(shard_id), claim.version_of(shard_id)
            row = Row(StoredCheckpoint(checkpoint, version, now), claim.writer)
            its_rank = rank(checkpoint.position)
            if not may_store(before and (before.stored.version, before.writer), version=version, writer=claim.writer):
                continue
            if before is not None and its_rank < rank(before.stored.checkpoint.position):
                stored = before.stored.checkpoint.position
                shard = f"{key.mapping}, {shard_id}"
                raise CheckpointMovedBack(shard, stored=stored, refused=checkpoint.position)
            new[shard_id] = row
        rows.update(new)
        return frozenset(checkpoints.keys() - new.keys())

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Delete the checkpoints of these shards."""
        await turn()
        for shard_id in shard_ids:
            self._rows[key].pop(shard_id, None)

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """Return None, because no person can set a starting position in memory."""
        await turn()
        return None


class MemoryPauses:
    """`ports.PauseStore` in this process's memory."""

    def __init__(self) -> None:
        self._paused: set[MappingName] = set()

    async def load(self) -> frozenset[MappingName]:
        await turn()
        return frozenset(self._paused)

    async def is_paused(self, mapping: MappingName) -> bool:
        return mapping in await self.load()

    async def pause(self, mapping: MappingName) -> None:
        await turn()
        self._paused.add(mapping)

    async def resume(self, mapping: MappingName) -> None:
        await turn()
        self._paused.discard(mapping)
