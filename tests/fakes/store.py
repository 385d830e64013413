"""Which fake replaces the position store? A dict with a history. Requests and answers may get lost.

    save ──(faults, latency)──> stored, noted in `history` ──(faults, latency)──> return

It compares versions as every store does. It also stores a checkpoint that moves backwards, so that a checker can find
it. A save that is cancelled, or whose answer is lost, may have an effect.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple

import anyio

from poller.errors import Unreachable
from poller.model.stream import Checkpoint, Claim, ShardId, StartingPosition, StateKey, StoredCheckpoint, WriterId
from tests.fakes.clock import EPOCH
from tests.fakes.faults import Fault, FaultPlan


class Saved(NamedTuple):
    """One save that has happened. The process number `life` requested it at `asked_at`.

    `wanted` are all shards of the call. `checkpoints` are the checkpoints that were stored.
    """

    asked_at: float
    at: float
    life: int
    key: StateKey
    checkpoints: Mapping[ShardId, Checkpoint]
    wanted: frozenset[ShardId]


class Forgotten(NamedTuple):
    at: float
    key: StateKey
    shard_ids: frozenset[ShardId]


class FakeStore:
    """`ports.CheckpointStore`. The fault plan's operations are its methods."""

    def __init__(self, *, faults: FaultPlan | None = None) -> None:
        self.faults = faults or FaultPlan()
        self.stored: defaultdict[StateKey, dict[ShardId, Checkpoint]] = defaultdict(dict)
        self._claims: dict[tuple[StateKey, ShardId], tuple[int, WriterId]] = {}
        self._saved_at: dict[tuple[StateKey, ShardId], float] = {}
        self.history: list[Saved | Forgotten] = []

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        fault = await self._way_there("load")
        stored = {
            shard_id: StoredCheckpoint(one, self._claims[key, shard_id][0], EPOCH + self._saved_at[key, shard_id])
            for shard_id, one in self.stored[key].items()
        }
        await self._way_back(fault)
        return stored

    async def save(
        self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim, *, life: int = 0
    ) -> frozenset[ShardId]:
        asked_at, wanted = anyio.current_time(), dict(checkpoints)
        fault = await self._way_there("save")
        lost = {shard_id for shard_id in wanted if not self._is_next(key, shard_id, claim)}
        saved = {shard_id: checkpoint for shard_id, checkpoint in wanted.items() if shard_id not in lost}
        self.stored[key].update(saved)
        self._saved_at |= {(key, shard_id): anyio.current_time() for shard_id in saved}
        self._claims |= {(key, shard_id): (claim.version_of(shard_id), claim.writer) for shard_id in saved}
        self.history.append(Saved(asked_at, anyio.current_time(), life, key, saved, frozenset(wanted)))
        await self._way_back(fault)
        return frozenset(lost)

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        fault = await self._way_there("forget")
        for shard_id in shard_ids:
            self.stored[key].pop(shard_id, None)
            self._claims.pop((key, shard_id), None)
        self.history.append(Forgotten(anyio.current_time(), key, frozenset(shard_ids)))
        await self._way_back(fault)

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """Return None, because no person sets a position in this store."""
        fault = await self._way_there("starting_position")
        await self._way_back(fault)
        return None

    def _is_next(self, key: StateKey, shard_id: ShardId, claim: Claim) -> bool:
        """Return whether no other writer has stored the shard since this writer read it."""
        version, writer = self._claims.get((key, shard_id), (0, None))
        step = claim.version_of(shard_id) - version
        return step == 1 or (step == 0 and writer == claim.writer)

    async def _way_there(self, operation: str) -> Fault:
        fault = self.faults.draw(operation, anyio.current_time())
        await anyio.sleep(self.faults.latency())
        if fault not in (Fault.NONE, Fault.ANSWER_LOST, Fault.ANSWER_SLOW):
            raise Unreachable("the store refuses, by plan", code="StoreFailed", was_sent=False)
        return fault

    async def _way_back(self, fault: Fault) -> None:
        await anyio.sleep(self.faults.latency())
        if fault is Fault.ANSWER_SLOW:
            await anyio.sleep(self.faults.slow_answer_in_seconds)
        if fault is Fault.ANSWER_LOST:
            raise Unreachable("the store's answer got lost, by plan", code="StoreFailed", was_sent=True)
