"""How much may be read ahead? So many bytes for a shard, and so many for the whole process.

A budget is asked before a read and charged after it; who asks waits until enough was given back.
What the answer will weigh is not known before, so a read is told how many records of the last one's weight would fit,
and the budget may be overrun by what it guessed wrong, by one answer at most.
A shard with nothing in hand may read a little even when the process's budget is used up: shards that stand still never
starve another one.
"""

from __future__ import annotations

import anyio

BYTES_OF_A_SHARD = 16 * 2**20
"""Two full events and a little: one is delivered while the next one fills."""

BYTES_OF_THE_PROCESS = 512 * 2**20

LEAST = 2**20
"""What a shard with nothing in hand may read in any case."""


class Budget:
    """Bytes in hand. `parent` is asked and charged too."""

    def __init__(self, limit_in_bytes: int, parent: Budget | None = None) -> None:
        self.used = 0
        self._limit_in_bytes = limit_in_bytes
        self._parent = parent
        self._given_back = anyio.Event()

    async def room(self) -> int:
        """How many bytes may be read, once there is room for any."""
        while True:
            own = self._limit_in_bytes - self.used
            shared = own if self._parent is None else self._parent._limit_in_bytes - self._parent.used
            if own > 0 and shared > 0:
                return min(own, shared)
            if own > 0 and not self.used:
                return LEAST
            full = self if own <= 0 or self._parent is None else self._parent
            await full._given_back.wait()

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

    def close(self) -> None:
        """Give back whatever is left: its records are in nobody's hand any more."""
        self.give_back(self.used)
