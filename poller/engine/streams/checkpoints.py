"""When is a checkpoint stored? As soon as it has moved, but a mapping saves at most once a second.

One save stores the last checkpoints of all shards that have moved.  It costs about half a millisecond of CPU, which is
more than the delivery of a batch.
A crash repeats the records of the last second, the batches that are running, and the records that other lanes have
finished after a record that is not done.
A mapping with tumbling windows saves five times a second, because the state of a window is stored with its checkpoint.
A starting position is not a checkpoint: it is stored before a record is read.

If the store fails, the save is repeated, and the deliveries go on: a checkpoint that is stored late can only cause
repetitions.  Only the end of a shard waits for the store.
At a stop the last checkpoints are stored, even when cancelled, but only for a limited time; the mapping learns for how
many shards this failed.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.store_health import StoreHealth
from poller.model.stream import Checkpoint, ShardId

SAVE_EVERY_SECONDS = 1.0
"""The shortest time from the beginning of a save to the beginning of the next one."""

SAVE_WINDOWS_EVERY_SECONDS = 0.2
"""The same time for a mapping with tumbling windows: a shard of Kinesis may be read as often."""

LAST_SAVE_IN_SECONDS = 5.0


class Checkpoints:
    """The checkpoints of one mapping that are not stored yet."""

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
        """Return how many seconds the oldest moved checkpoint has waited to be stored; 0 if all are stored."""
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
        """Store all checkpoints that moved before this call, and repeat the save until it succeeds."""
        wanted = self._moves
        async with self._saving:
            if self._stored < wanted:
                await self._health.until_done("save", self._save_once)

    async def save_last(self) -> int:
        """Store the last checkpoints. Return for how many shards this was not possible within LAST_SAVE_IN_SECONDS."""
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
