"""How do mappings share a value that must be closed, such as a client? A separate task opens and closes the value.

    the first user ──> a task opens it ── users come and go ── the last one leaves ──> the same task closes it

If a context manager starts tasks, the task that enters it must also leave it, in the reverse order of entering.
Users come and go in any order, so no user can own a shared value. Instead, each value has a task that owns it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Shared values, at most one for each key. `new` opens a value.

    The task group `tasks` must outlive the last user.
    """

    def __init__(self, new: Callable[[K], AbstractAsyncContextManager[V]], *, tasks: TaskGroup) -> None:
        self._new = new
        self._tasks = tasks
        self._entries: dict[K, _Entry[V]] = {}

    def __len__(self) -> int:
        """Return how many values are open, or are being opened or closed."""
        return len(self._entries)

    @asynccontextmanager
    async def use(self, key: K) -> AsyncIterator[V]:
        """Yield the value for this key. It stays open until its last user has left the block.

        If the value cannot be opened, each user gets that error. The last user waits until the value is closed, and
        gets the error if the value cannot be closed.
        If a user comes while the value is being closed, the user waits, and then a new value is opened. So a key never
        has two open values.
        """
        while (entry := self._entries.get(key)) is not None and entry.is_left.is_set():
            await entry.is_closed.wait()
        if entry is None:
            entry = self._entries[key] = _Entry()
            self._tasks.start_soon(self._own, key, entry)
        entry.users += 1
        try:
            yield await entry.value()
        finally:
            entry.users -= 1
            if not entry.users:
                await entry.close()

    def opened(self, key: K) -> V | None:
        """Return the open value for this key, or None if no user has opened it."""
        entry = self._entries.get(key)
        return entry.opened[0] if entry is not None and entry.opened else None

    def all_opened(self) -> list[V]:
        """Return all open values, in the order in which they were opened."""
        return [value for entry in self._entries.values() for value in entry.opened]

    async def _own(self, key: K, entry: _Entry[V]) -> None:
        try:
            async with self._new(key) as value:
                entry.opened = [value]
                entry.is_ready.set()
                await entry.is_left.wait()
        except Exception as error:  # `use` raises it, because here it would cancel every task of the group
            entry.error = error
        del self._entries[key]
        entry.is_ready.set()
        entry.is_closed.set()


class _Entry(Generic[V]):
    """A value from its first user to its end. `error` says why opening or closing has failed."""

    def __init__(self) -> None:
        self.users = 0
        self.opened: list[V] = []
        self.error: Exception | None = None
        self.is_ready = anyio.Event()
        self.is_left = anyio.Event()
        self.is_closed = anyio.Event()

    async def value(self) -> V:
        await self.is_ready.wait()
        if not self.opened:
            assert self.error is not None, "a value that could not be opened has an error"
            raise self.error
        return self.opened[0]

    async def close(self) -> None:
        self.is_left.set()
        await self.is_closed.wait()
        if self.opened and self.error is not None:
            raise self.error
