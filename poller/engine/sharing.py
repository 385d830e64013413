"""How do mappings share what must be closed? A task opens it for the first user and closes it after the last one.

    the first user ──> a task opens it ── users come and go ── the last one leaves ──> the same task closes it

A context manager that starts tasks must be left by the task that entered it, and the innermost first.
Users come and go in any order, so none of them can own what they share: each value has a task that owns it.
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
    """One value for each key. `new` makes what opens it; `tasks` must outlive the last user."""

    def __init__(self, new: Callable[[K], AbstractAsyncContextManager[V]], *, tasks: TaskGroup) -> None:
        self._new = new
        self._tasks = tasks
        self._entries: dict[K, _Entry[V]] = {}

    def __len__(self) -> int:
        """How many values are open, or are being opened or closed."""
        return len(self._entries)

    @asynccontextmanager
    async def use(self, key: K) -> AsyncIterator[V]:
        """The value for this key, until the block is left.

        Raises what opening raises. The last user waits until the value is closed, and gets what closing raises.
        A user who comes while the value is being closed waits, and gets another one: two are never open for one key.
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
        """The value for this key, if somebody uses it now."""
        entry = self._entries.get(key)
        return entry.opened[0] if entry is not None and entry.opened else None

    async def _own(self, key: K, entry: _Entry[V]) -> None:
        try:
            async with self._new(key) as value:
                entry.opened = [value]
                entry.is_ready.set()
                await entry.is_left.wait()
        except Exception as error:  # the users get it: here it would end everything that shares the tasks
            entry.error = error
        del self._entries[key]
        entry.is_ready.set()
        entry.is_closed.set()


class _Entry(Generic[V]):
    """A value from its first user to its end. `opened` holds it once it is open, `error` what went wrong."""

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
