"""How are positions stored so that they survive any crash? In one SQLite file, and each save is flushed to the disk.

A thread does all work with the file (`writer.py`); the event loop never touches it.
An error of SQLite becomes a `ServiceError`, so that the engine waits and tries again.
If another program has locked the file, the error is Unreachable, because the lock will end. Any other error, such as
a full disk, is Rejected, because it needs a person.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio import CancelScope, to_thread

from poller.errors import Rejected, Unreachable
from poller.model.ids import MappingName
from poller.model.stream import Checkpoint, Claim, ShardId, StartingPosition, StateKey, StoredCheckpoint
from poller.stores.pauses import pause, paused, resume
from poller.stores.rows import count, forget, load, row_of, starting_position
from poller.stores.sqlite_file import owned, watched
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
            self.pauses = SqlitePauses(self._writer, self._translated)
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
        with self._translated():
            return await self._writer.do(lambda file: load(file, key))

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        """Store the checkpoints, apart from those of lost shards, whose ids are returned once the others are flushed.

        Raises CheckpointMovedBack, Unreachable or Rejected, and then stores none.
        """
        rows = [row_of(key, shard_id, checkpoint, claim) for shard_id, checkpoint in checkpoints.items()]
        with self._translated():
            return await self._writer.save(rows)

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Delete the checkpoints of these shards."""
        with self._translated():
            await self._writer.do(lambda file: forget(file, key, shard_ids))

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """Return the starting position that a person has set last for this stream, or None."""
        with self._translated():
            return await self._writer.do(lambda file: starting_position(file, key))

    def _has_migrated(self, kept_copy: Path) -> None:
        self.kept_copy = kept_copy

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            if code.startswith("SQLITE_BUSY"):  # another program has locked the file, and will unlock it
                raise Unreachable(f"{self._path}: {error}", code=code, was_sent=False) from error
            raise Rejected(f"{self._path}: {error}", code=code) from error


class SqlitePauses:
    """`ports.PauseStore` in the file of a `SqliteStore`. It works while that store is open."""

    def __init__(self, writer: Writer, translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._writer = writer
        self._translated = translated

    async def load(self) -> frozenset[MappingName]:
        with self._translated():
            return await self._writer.do(paused)

    async def pause(self, mapping: MappingName) -> None:
        with self._translated():
            await self._writer.do(lambda file: pause(file, mapping))

    async def resume(self, mapping: MappingName) -> None:
        with self._translated():
            await self._writer.do(lambda file: resume(file, mapping))


async def _close(file: ExitStack) -> None:
    with CancelScope(shield=True):
        await to_thread.run_sync(file.close)
