"""How much may be read ahead? So many bytes for a shard, and so many for the whole process.

A budget is asked before a read and charged after it, so it may be overrun by one answer; who asks waits until what was
charged before has been given back far enough.
"""

from __future__ import annotations

import anyio

BYTES_OF_A_SHARD = 16 * 2**20
"""Two full events and a little: one is delivered while the next one fills."""

BYTES_OF_THE_PROCESS = 512 * 2**20


class Budget:
    """Bytes in hand. `parent` is asked and charged too."""

    def __init__(self, limit_in_bytes: int, parent: Budget | None = None) -> None:
        self.used = 0
        self._limit_in_bytes = limit_in_bytes
        self._parent = parent
        self._given_back = anyio.Event()

    async def room(self) -> None:
        while self.used >= self._limit_in_bytes:
            await self._given_back.wait()
        if self._parent is not None:
            await self._parent.room()

    def charge(self, count: int) -> None:
        self.used += count
        if self._parent is not None:
            self._parent.charge(count)

    def give_back(self, count: int) -> None:
        assert count <= self.used, "more is given back than was charged"
        self.used -= count
        self._given_back.set()
        self._given_back = anyio.Event()
        if self._parent is not None:
            self._parent.give_back(count)
