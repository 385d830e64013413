"""How many bytes may be read before they are delivered? A shard has a limit, and the whole process has one.

Many reads run at the same time, so each read reserves room before it begins. Afterwards it is charged for the size of
its answer.
If there is no room, a read waits until other reads end or records are done.
A read cannot know the size of its answer before, so it asks for as many records as probably fit (weighing.py). If the
records are larger than expected, the budget is exceeded.
A shard without records in hand may always read a little, even if the process has no room. So blocked shards cannot keep
other shards from being read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

BYTES_OF_A_SHARD = 16 * 2**20
"""More than two full events, so that one event can be delivered while the next one is filled."""

BYTES_OF_THE_PROCESS = 512 * 2**20

LARGEST_ANSWER = 14 * 2**20
"""The most room that one read gets. An answer of Kinesis has up to 10 MiB, and base64 makes it a third longer."""

LEAST = 2**20
"""How many bytes a shard without records in hand may read if the process has no room."""


class Budget:
    """The bytes in hand of one shard, or of the process. A shard's `parent` is the process's budget."""

    def __init__(self, limit_in_bytes: int, parent: Budget | None = None) -> None:
        self.used = 0
        self._limit_in_bytes = limit_in_bytes
        self._promised = 0
        self._parent = parent
        self._called = anyio.Event()
        self._line: dict[Budget, None] = {}

    @asynccontextmanager
    async def promised(self, when_full: Callable[[], None] = lambda: None) -> AsyncIterator[int]:
        """Wait until there is room for a read, and yield how many bytes the block may read.

        Call `charge` right after the block, before the task waits for anything else.
        `when_full` is called if there is no room until records in hand are done.
        """
        room = 0
        try:
            room = await self._room(when_full)
            self._promise(room)
            yield room
        finally:
            self._promise(-room)

    def charge(self, count: int) -> None:
        self.used += count
        if self.used >= self._limit_in_bytes:
            for waiting in self._line:
                waiting._called.set()
        if self._parent is not None:
            self._parent.charge(count)

    def give_back(self, count: int) -> None:
        assert count <= self.used, "more is given back than was charged"
        self.used -= count
        self._call()
        if self._parent is not None:
            self._parent.give_back(count)

    def close(self) -> None:
        """Free all charged bytes, because the shard is read no more."""
        self.give_back(self.used)

    @property
    def _left(self) -> int:
        return self._limit_in_bytes - self.used - self._promised

    @property
    def _is_full(self) -> bool:
        if self.used >= self._limit_in_bytes:
            return True
        return self._parent is not None and self._parent._is_full and self.used > 0

    async def _room(self, when_full: Callable[[], None]) -> int:
        line = {} if self._parent is None else self._parent._line
        try:
            while (room := self._room_now()) <= 0:
                if self._is_full:
                    when_full()
                if self._left > 0:
                    line[self] = None
                self._called = anyio.Event()
                await self._called.wait()
            return room
        finally:
            line.pop(self, None)

    def _room_now(self) -> int:
        shared = LARGEST_ANSWER if self._parent is None else self._parent._left
        if shared <= 0 and not self.used:
            return LEAST
        return min(self._left, shared, LARGEST_ANSWER)

    def _promise(self, count: int) -> None:
        self._promised += count
        self._call()
        if self._parent is not None:
            self._parent._promise(count)

    def _call(self) -> None:
        """Wake the reader that waits for room in this budget.

        If the process has room, also wake the first shard that waits; it then wakes the next one.
        """
        self._called.set()
        if self._line and self._left > 0:
            next(iter(self._line))._called.set()
