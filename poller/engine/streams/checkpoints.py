"""When is a checkpoint stored? As soon as it has moved, but a mapping saves at most once a second.

One save stores the last checkpoints of all shards that have moved. It costs about half a millisecond of CPU, which is
more than the delivery of a batch costs.
After a crash, three kinds of records are delivered again: those of the last second, those in running batches, and those
that other lanes had finished after a record that was not done.
A mapping with tumbling windows saves five times a second, because the state of a window is stored with its checkpoint.
A starting position is not a checkpoint: it is stored before a record is read.

If the store fails, the save is repeated, and the deliveries continue, because a checkpoint that is stored late only
causes repetitions. Only the end of a shard waits for the store.
At a stop, the last checkpoints are stored, even when cancelled. If this does not succeed in a limited time, the mapping
learns how many shards are missing.
"""

from __future__ import annotations

import anyio

from poller.engine.streams.positions import StoredPositions
from poller.engine.streams.store_health import StoreHealth
from poller.model.stream import Checkpoint, ShardId

SAVE_EVERY_SECONDS = 1.0
"""The shortest time from the beginning of a save to the beginning of the next one."""

SAVE_WINDOWS_EVERY_SECONDS = 0.2
"""The same for a mapping with tumbling windows. It is as short as the pause between two reads of a Kinesis shard."""

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
        """Return for how many seconds the oldest checkpoint has waited to be stored, or 0 if all are stored."""
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
        """Store all checkpoints that have moved before this call. Repeat the save until it succeeds."""
        wanted = self._moves
        async with self._saving:
            if self._stored < wanted:
                await self._health.until_done("save", self._save_once)

    async def save_last(self) -> int:
        """Store the last checkpoints within LAST_SAVE_IN_SECONDS. Return for how many shards this was not possible."""
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
