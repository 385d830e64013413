"""When is a checkpoint stored? As soon as it moved, but at most once a second for all shards of a mapping.

A save costs about half a millisecond of CPU, however many shards are in it: more than to deliver a batch.
Shards that move during a save or within the second wait for the next save, which stores only the last checkpoint of
each.  So a crash repeats the records of the last second, or one batch of a function that takes longer, and the records
that lanes have finished beyond one that is not done.
A mapping with tumbling windows saves five times a second, because the state of a window is stored with its checkpoint.
A starting position is not a checkpoint: it is stored before a record is read.

A store that fails is tried again.  Only the end of a shard waits for it, because a checkpoint that is stored late costs
at worst a repetition.
At a stop the last checkpoints are stored, shielded and for a bounded time; the mapping learns how many shards could not
be stored.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.store_health import StoreHealth
from poller.model.stream import Checkpoint, ShardId

SAVE_EVERY_SECONDS = 1.0
"""From the beginning of a save to the beginning of the next; so old are the records that a crash repeats at most."""

SAVE_WINDOWS_EVERY_SECONDS = 0.2
"""The same with tumbling windows: as often as a shard of Kinesis may be read."""

LAST_SAVE_IN_SECONDS = 5.0


class Checkpoints:
    """The checkpoints of one mapping, on their way to the store."""

    def __init__(self, positions: StoredPositions, *, health: StoreHealth, has_windows: bool) -> None:
        self._positions = positions
        self._health = health
        self._interval_in_seconds = SAVE_WINDOWS_EVERY_SECONDS if has_windows else SAVE_EVERY_SECONDS
        self._moved: dict[ShardId, Checkpoint] = {}
        self._moves = self._stored = 0
        self._moved_at: float | None = None
        self._saving_since: float | None = None
        self._has_moved = anyio.Event()
        self._saving = anyio.Lock()

    @property
    def age_in_seconds(self) -> float:
        """How long ago the oldest one moved that is not stored yet; 0 where all are."""
        since = self._moved_at if self._saving_since is None else self._saving_since
        return 0.0 if since is None else anyio.current_time() - since

    def move(self, shard_id: ShardId, checkpoint: Checkpoint) -> None:
        if self._moved_at is None:
            self._moved_at = anyio.current_time()
        self._moved[shard_id] = checkpoint
        self._moves += 1
        self._has_moved.set()

    async def run(self) -> None:
        while True:
            await self._has_moved.wait()
            self._has_moved = anyio.Event()
            began = anyio.current_time()
            await self.save()
            await anyio.sleep_until(began + self._interval_in_seconds)

    async def save(self) -> None:
        """Returns when all that moved before the call is stored, whatever moves meanwhile; tries until it is."""
        wanted = self._moves
        async with self._saving:
            if self._stored < wanted:
                await self._health.until_done("save", self._save_once)

    async def save_last(self) -> int:
        """How many shards have moved, and that could not be stored in time."""
        with anyio.move_on_after(LAST_SAVE_IN_SECONDS, shield=True):
            await self.save()
        return len(self._moved)

    async def _save_once(self) -> None:
        moves, saved, self._moved = self._moves, self._moved, {}
        self._saving_since, self._moved_at = self._moved_at, None
        try:
            await self._positions.save_once(saved)
        except BaseException:
            self._moved = saved | self._moved
            self._moved_at = self._saving_since
            raise
        else:
            self._stored = moves
        finally:
            self._saving_since = None
