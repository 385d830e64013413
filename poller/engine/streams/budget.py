"""How much may be read ahead? So many bytes for a shard, and so many for the whole process.

Each read reserves room before it begins, because many run at once; its answer is charged afterwards. A read without
room waits until enough is given back.
The size of an answer is not known before, so a read asks for as many records as should fit by their known weight
(weighing.py). Where that guess is too low, the budget is exceeded.
A shard with nothing in hand may read a little even when the process's budget is used up: so blocked shards never starve
another one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

BYTES_OF_A_SHARD = 16 * 2**20
"""Two full events and a little: one is delivered while the next one fills."""

BYTES_OF_THE_PROCESS = 512 * 2**20

LARGEST_ANSWER = 14 * 2**20
"""What one read is promised at most: the 10 MiB that Kinesis answers with, as base64."""

LEAST = 2**20
"""What a shard with nothing in hand may read in any case."""


class Budget:
    """Bytes in hand, of one shard with one reader, or of the process: `parent` is asked and charged too."""

    def __init__(self, limit_in_bytes: int, parent: Budget | None = None) -> None:
        self.used = 0
        self._limit_in_bytes = limit_in_bytes
        self._promised = 0
        self._parent = parent
        self._called = anyio.Event()
        self._line: dict[Budget, None] = {}

    @asynccontextmanager
    async def promised(self, when_full: Callable[[], None] = lambda: None) -> AsyncIterator[int]:
        """How many bytes may be read within, once there is room for any. To be charged before anybody waits again.

        `when_full` is called where that takes until something in hand is done, and not only until others have read.
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
        """Give back whatever is left: its records are in nobody's hand any more."""
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
        """Let the one who waits for it look again: its reader, or the first in line; that one lets the next."""
        self._called.set()
        if self._line and self._left > 0:
            next(iter(self._line))._called.set()
