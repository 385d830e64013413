"""How does the daemon, or one run of a mapping, stop? In three stages, each an event that anyone may wait for.

    draining    no more polls; what runs may finish
    releasing   the grace is over, or a second signal hurries: what still runs is cut, what is in hand goes back
    (stopped)   every task has ended

Each run of a mapping has a stop of its own, which is a part of the daemon's: the daemon's stop stops all runs, and when
it is hurried, it hurries them all.

An event is set once and never taken back. `is_unclean` is set if the stop left something undone that a person should
know. `crash` is the fault of our own that ended a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Stop:
    """One stop. Whoever may begin it holds it, and whoever obeys it."""

    def __init__(self) -> None:
        self.draining = anyio.Event()
        self.releasing = anyio.Event()
        self.is_unclean = anyio.Event()
        self.crash: Exception | None = None
        self._parts: set[Stop] = set()

    @property
    def has_begun(self) -> bool:
        return self.draining.is_set()

    @contextmanager
    def part(self) -> Iterator[Stop]:
        """A stop that can begin alone, and that begins with this one as long as the block lasts.

        This stop is unclean if a part of it is, but not if that part stopped alone before it.
        """
        part = Stop()
        if self.has_begun:
            part.begin()
        if self.releasing.is_set():
            part.hurry()
        self._parts.add(part)
        try:
            yield part
        finally:
            self._parts.remove(part)
            if self.has_begun and part.is_unclean.is_set():
                self.is_unclean.set()

    def begin(self) -> None:
        self.draining.set()
        for part in self._parts:
            part.begin()

    def hurry(self) -> None:
        self.begin()
        self.releasing.set()
        for part in self._parts:
            part.hurry()

    def fail(self, error: Exception) -> None:
        """Begin because of a fault of our own; of several, the first one counts."""
        if self.crash is None:
            self.crash = error
        self.begin()

    async def sleep(self, seconds: float) -> None:
        """Sleep, at most until the stop begins. A time of zero or less returns at once."""
        if seconds > 0:
            with anyio.move_on_after(seconds):
                await self.draining.wait()

    async def after_grace(self, grace_in_seconds: float) -> None:
        """Wait for the stop to begin, then hurry it once the grace is over."""
        await self.draining.wait()
        with anyio.move_on_after(grace_in_seconds):
            await self.releasing.wait()
        self.hurry()

    async def before(self, event: anyio.Event) -> bool:
        """Wait for the event, at most until the stop begins; whether it was set."""
        async with anyio.create_task_group() as waiting:

            async def wait() -> None:
                await event.wait()
                waiting.cancel_scope.cancel()

            if not event.is_set():
                waiting.start_soon(wait)
                await self.draining.wait()
            waiting.cancel_scope.cancel()
        return event.is_set()
