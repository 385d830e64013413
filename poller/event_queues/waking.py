"""When does a waiting take look for events again? When it may find one:

    this process has stored an event          at once
    an event becomes due, a claim ends        at that time
    another process has stored an event       within a second

One search of the file finds the events of all functions with waiting takes. While no take waits, no search is made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from math import inf

import anyio

from poller.errors import ServiceError
from poller.model.ids import FunctionName
from poller.ports import Clock

LOOK_EVERY_SECONDS = 1.0
"""How often the file is searched for events that other processes have stored."""


class Waking:
    """Wakes the waiting takes of one process. A task must run `run` at the same time.

    `next_free` returns when the next event of each function may be taken, in epoch seconds.
    """

    def __init__(
        self, next_free: Callable[[Collection[FunctionName]], Awaitable[Mapping[FunctionName, float]]], clock: Clock
    ) -> None:
        self._next_free = next_free
        self._clock = clock
        self._waiting: defaultdict[FunctionName, set[anyio.Event]] = defaultdict(set)
        self._look_at = inf
        self._sooner = anyio.Event()

    @contextmanager
    def waiting(self, function: FunctionName) -> Iterator[anyio.Event]:
        """Yield an anyio event that is set when the function may have an event to take.

        Enter this block before you search the file. Otherwise, an event that is stored in between is missed.
        """
        woken = anyio.Event()
        self._waiting[function].add(woken)
        self._look_not_after(self._clock.now() + LOOK_EVERY_SECONDS)
        try:
            yield woken
        finally:
            self._waiting[function].remove(woken)
            if not self._waiting[function]:
                del self._waiting[function]

    def stored(self, function: FunctionName, *, free_at: float) -> None:
        """Wake the function's takes at `free_at` (epoch seconds), because one of its events may be taken then."""
        if function not in self._waiting:
            return
        if free_at <= self._clock.now():
            self._wake(function)
        else:
            self._look_not_after(free_at)

    async def run(self) -> None:
        while True:
            with anyio.move_on_after(self._look_at - self._clock.now()):
                await self._sooner.wait()
            self._sooner = anyio.Event()
            now = self._clock.now()
            if self._look_at <= now:
                await self._look(now)

    async def _look(self, now: float) -> None:
        self._look_at = now + LOOK_EVERY_SECONDS if self._waiting else inf
        if not self._waiting:
            return
        try:
            found = await self._next_free(list(self._waiting))
        except ServiceError:  # all takes are woken, and each take raises the error itself
            found = dict.fromkeys(self._waiting, now)
        for function, free_at in found.items():
            self.stored(function, free_at=free_at)

    def _wake(self, function: FunctionName) -> None:
        for woken in self._waiting[function]:
            woken.set()

    def _look_not_after(self, moment: float) -> None:
        if moment < self._look_at:
            self._look_at = moment
            self._sooner.set()
