"""How are positions stored so that they survive any crash? In one SQLite file, and each save is flushed to the disk.

A thread does all work with the file (`writer.py`); the event loop never touches it.
An error of SQLite becomes a `ServiceError`, so that the engine waits and tries again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio import CancelScope, to_thread

from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Claim, ShardId, StartingPosition, StateKey, StoredCheckpoint
from poller.sqlite.kind import translated, watched
from poller.stores.pauses import pause, paused, resume
from poller.stores.rows import count, forget, load, row_of, starting_position
from poller.stores.sqlite_file import owned
from poller.stores.writer import Writer


class SqliteStore:
    """`ports.CheckpointStore` in a file, which is open inside an `async with`.

    Entering it raises SettingsError if the file cannot be used at all, and InUse or CannotStore if it cannot be used
    now. `positions` is how many checkpoints the file had when it was opened. `pauses` stores pauses in the same file.
    `kept_copy` is the path of the copy if opening has migrated the file, None otherwise.
    """

    pauses: SqlitePauses

    def __init__(self, path: Path) -> None:
        self.positions = 0
        self.kept_copy: Path | None = None
        self._path = path

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            file = ExitStack()
            stack.push_async_callback(_close, file)
            connection = await to_thread.run_sync(file.enter_context, owned(self._path, self._has_migrated))
            self.positions = await to_thread.run_sync(count, connection)
            self._writer = Writer(connection, watched(self._path))
            self.pauses = SqlitePauses(self._writer, self._path)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            tasks.start_soon(self._writer.run)
            stack.callback(self._writer.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store in the same way after an error of the block.

        The task group does not see that error, so it neither cancels the writer nor wraps the error in a group.
        """
        await self._stack.aclose()

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        """Return all stored checkpoints of a mapping in one stream."""
        with translated(self._path):
            return await self._writer.do(lambda file: load(file, key))

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        """Store the checkpoints, apart from those of lost shards, whose ids are returned once the others are flushed.

        Raises CheckpointMovedBack, Unreachable or Rejected, and then stores none.
        """
        rows = [row_of(key, shard_id, checkpoint, claim) for shard_id, checkpoint in checkpoints.items()]
        with translated(self._path):
            return await self._writer.save(rows)

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Delete the checkpoints of these shards."""
        with translated(self._path):
            await self._writer.do(lambda file: forget(file, key, shard_ids))

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """Return the starting position that a person set for this mapping in this stream; None if nobody set one."""
        with translated(self._path):
            return await self._writer.do(lambda file: starting_position(file, key))

    def _has_migrated(self, kept_copy: Path) -> None:
        self.kept_copy = kept_copy


class SqlitePauses:
    """`ports.PauseStore` in the file of a `SqliteStore`. It works while that store is open."""

    def __init__(self, writer: Writer, path: Path) -> None:
        self._writer = writer
        self._path = path

    async def load(self) -> frozenset[MappingName]:
        with translated(self._path):
            return await self._writer.do(paused)

    async def is_paused(self, mapping: MappingName) -> bool:
        return mapping in await self.load()

    async def pause(self, mapping: MappingName) -> None:
        with translated(self._path):
            await self._writer.do(lambda file: pause(file, mapping))

    async def resume(self, mapping: MappingName) -> None:
        with translated(self._path):
            await self._writer.do(lambda file: resume(file, mapping))


async def _close(file: ExitStack) -> None:
    with CancelScope(shield=True):
        await to_thread.run_sync(file.close)
