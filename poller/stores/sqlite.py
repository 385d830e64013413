"""How are positions kept so that they survive whatever the process dies of? In one SQLite file, flushed at each save.

The event loop never touches the file: `writer.py` does, in a thread.
An error of SQLite becomes a `ServiceError`, so that the engine waits and tries again.
If another program has locked the file, that passes; any other error, such as a full disk, needs a person.
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
    """`ports.CheckpointStore` in a file, which is open within an `async with`.

    Entering raises SettingsError where the file cannot be used, InUse or CannotStore where it cannot be used now.
    `positions` is how many positions it held when it was opened. `pauses` is in the same file.
    `kept_copy` is the copy of a file that opening has migrated from the format before.
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
        """An error of the block is not shown to the writer: it ends as ever, and the error goes on in no group."""
        await self._stack.aclose()

    async def load(self, key: StateKey) -> dict[ShardId, StoredCheckpoint]:
        """Everything stored for a mapping in its stream."""
        with self._translated():
            return await self._writer.do(lambda file: load(file, key))

    async def save(self, key: StateKey, checkpoints: Mapping[ShardId, Checkpoint], claim: Claim) -> frozenset[ShardId]:
        """Store these but for the lost ones, all or none; returns the lost ones, when the others are on the disk."""
        rows = [row_of(key, shard_id, checkpoint, claim) for shard_id, checkpoint in checkpoints.items()]
        with self._translated():
            return await self._writer.save(rows)

    async def forget(self, key: StateKey, shard_ids: Collection[ShardId]) -> None:
        """Remove what is stored for these shards."""
        with self._translated():
            await self._writer.do(lambda file: forget(file, key, shard_ids))

    async def starting_position(self, key: StateKey) -> StartingPosition | None:
        """What was set by hand in place of the mapping's own starting position; holds until it is set again."""
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
    """`ports.PauseStore` in the file of a `SqliteStore`, while that is open."""

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
