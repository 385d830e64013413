"""How does the daemon, or one run of a mapping, stop? In three stages; the first two are events.

    draining    polling and reading end, and invocations that run may finish; if the daemon stops, its shards are read
                until the other workers know of the stop
    releasing   the grace is over, or there was a second signal: invocations are cut, messages return to their queues
    (stopped)   every task has ended

Each run of a mapping has a stop of its own, which is a part of the daemon's stop.
When a stage of the daemon's stop begins, the same stage begins for all runs.

A stage is an event that is set once and never cleared.
`is_unclean` is true if a stop could not do all its work, for example store the last checkpoints.
`crash` is the exception that ended the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Stop:
    """The stop of the daemon, or of one run of a mapping."""

    def __init__(self) -> None:
        self.draining = anyio.Event()
        self.releasing = anyio.Event()
        self.is_unclean = anyio.Event()
        self.crash: Exception | None = None
        self._parts: set[Stop] = set()
        self._waits: set[anyio.CancelScope] = set()

    @property
    def has_begun(self) -> bool:
        return self.draining.is_set()

    @contextmanager
    def part(self) -> Iterator[Stop]:
        """Yield a part of this stop. The part can begin alone, and it begins at the latest when this stop begins.

        If the part is unclean, this stop is unclean too, unless the part has ended before this stop begins.
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

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Cancel the block when the stop begins, or at once if the stop has begun."""
        with anyio.CancelScope() as scope:
            if self.has_begun:
                scope.cancel()
            self._waits.add(scope)
            try:
                yield
            finally:
                self._waits.remove(scope)

    def begin(self) -> None:
        self.draining.set()
        for scope in self._waits:
            scope.cancel()
        for part in self._parts:
            part.begin()

    def hurry(self) -> None:
        self.begin()
        self.releasing.set()
        for part in self._parts:
            part.hurry()

    def fail(self, error: Exception) -> None:
        """Begin the stop because of an exception. `crash` keeps the first one."""
        if self.crash is None:
            self.crash = error
        self.begin()

    async def sleep(self, seconds: float) -> None:
        """Sleep, at most until the stop begins. Return at once if `seconds` is zero or less."""
        if seconds > 0:
            with anyio.move_on_after(seconds):
                await self.draining.wait()

    async def after_grace(self, grace_in_seconds: float) -> None:
        """Wait until the stop begins. Then wait for the grace, and begin the stage `releasing`."""
        await self.draining.wait()
        with anyio.move_on_after(grace_in_seconds):
            await self.releasing.wait()
        self.hurry()

    async def before(self, event: anyio.Event) -> bool:
        """Wait for the event, at most until the stop begins. Return whether the event is set."""
        async with anyio.create_task_group() as waiting:

            async def wait() -> None:
                await event.wait()
                waiting.cancel_scope.cancel()

            if not event.is_set():
                waiting.start_soon(wait)
                await self.draining.wait()
            waiting.cancel_scope.cancel()
        return event.is_set()
