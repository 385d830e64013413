"""What stream do the workers of a simulation share? Shards whose records arrive at fixed times, and that end.

The records of a shard have the numbers 1, 2, 3, ... in the order of their arrival; a number is a sequence number, too.
A reshard closes shards and opens their children.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, inf

import anyio

from poller.model.ids import MappingName
from poller.model.lease import RowKey
from poller.model.stream import Shard, ShardId, StateKey

STATE = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
PREFIX = f"{STATE.mapping}/{STATE.stream_arn}/"


def key_of(shard_id: ShardId) -> RowKey:
    return RowKey(PREFIX + shard_id)


def shard_of(key: RowKey) -> ShardId:
    return ShardId(key.removeprefix(PREFIX))


@dataclass(eq=False, kw_only=True)
class SimulatedShard:
    """From `opened_at` until before `closed_at`, a record arrives every `interval_in_seconds`."""

    shard_id: ShardId
    parent_ids: tuple[ShardId, ...]
    opened_at: float
    interval_in_seconds: float
    closed_at: float = inf

    def arrived(self, now: float) -> int:
        """Return how many records have arrived."""
        until = min(now, self.closed_at)
        return max(0, floor((until - self.opened_at) / self.interval_in_seconds))


@dataclass(eq=False)
class SharedStream:
    """The stream. Records arrive until `ends_at`; then all shards are closed."""

    interval_in_seconds: float = 1.0
    shards: dict[ShardId, SimulatedShard] = field(default_factory=dict)
    has_ended: bool = False

    def open(self, *parents: ShardId) -> ShardId:
        shard_id = ShardId(f"shard-{len(self.shards):05}")
        self.shards[shard_id] = SimulatedShard(
            shard_id=shard_id,
            parent_ids=parents,
            opened_at=anyio.current_time(),
            interval_in_seconds=self.interval_in_seconds,
        )
        return shard_id

    def reshard(self, *parents: ShardId, children: int) -> None:
        """Close these shards, and open their children: two of a split, or one of a merge."""
        for parent in parents:
            self.shards[parent].closed_at = anyio.current_time()
        for _ in range(children):
            self.open(*parents)

    def end(self) -> None:
        """Close all shards."""
        self.has_ended = True
        for shard in self.shards.values():
            shard.closed_at = min(shard.closed_at, anyio.current_time())

    @property
    def open_shards(self) -> list[ShardId]:
        return [shard.shard_id for shard in self.shards.values() if shard.closed_at == inf]

    def listing(self) -> list[Shard]:
        return [Shard(shard.shard_id, shard.parent_ids, shard.closed_at == inf) for shard in self.shards.values()]

    def read(self, shard_id: ShardId, after: int, *, limit: int) -> range | None:
        """Return the numbers of the next records, perhaps none; None if the shard has ended before them."""
        shard, now = self.shards[shard_id], anyio.current_time()
        last = min(shard.arrived(now), after + limit)
        if last == after and now >= shard.closed_at:
            return None
        return range(after + 1, last + 1)
