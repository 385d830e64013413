"""When is the tour over? When all numbers add up, when nothing changes any more, or when it has taken too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from poller.demo.books import Book
from poller.demo.daemon import Daemon
from poller.demo.scenes import Scene
from poller.demo.screen import Bars, Lines

LOOK_EVERY_SECONDS = 0.4
NOTHING_MOVES_AFTER_SECONDS = 15.0
"""After this time without a change, the tour ends. In this time, every failed message is received again."""

LONGEST_WATCH_IN_SECONDS = 90.0

KILL_AT_STEP = 10
"""After how many steps a worker is killed: at this step, half of the clicks are in the stream."""

SEEN_BEFORE_THE_DEATH = 0.25
"""Which part of all records must be done before that, so that the worker dies in the middle of its work."""


class Watch:
    """Puts the records of all parts into the sources, and looks at the books until the tour is over.

    If there is a `kill`, it is called in the middle.
    """

    def __init__(
        self, scene: Scene, running: Daemon, progress: Bars | Lines, *, kill: Callable[[], Awaitable[None]] | None
    ) -> None:
        self._kill = kill
        self._scene = scene
        self._running = running
        self._progress = progress

    async def until_settled(self) -> list[Sequence[Book]]:
        """Return the last books of each part. Their faults say whether the numbers add up."""
        await self._send()
        began = moved = anyio.current_time()
        books: list[Sequence[Book]] = []
        while True:
            before, books = books, await self._look()
            now = anyio.current_time()
            if books != before:
                moved = now
            is_hopeless = now - moved > NOTHING_MOVES_AFTER_SECONDS or now - began > LONGEST_WATCH_IN_SECONDS
            if is_hopeless or all(book.is_settled for of_part in books for book in of_part):
                return books
            await anyio.sleep(LOOK_EVERY_SECONDS)

    async def _send(self) -> None:
        """Send the records of all parts, one part after another, and show the books from time to time."""
        looked = anyio.current_time()
        for part in self._scene.parts:
            steps = 0
            async for _ in part.send():
                steps += 1
                if self._kill is not None and steps == KILL_AT_STEP:
                    await self._until_some_are_done()
                    await self._kill()
                if anyio.current_time() - looked > LOOK_EVERY_SECONDS:
                    await self._look()
                    looked = anyio.current_time()

    async def _until_some_are_done(self) -> None:
        with anyio.move_on_after(NOTHING_MOVES_AFTER_SECONDS):
            while True:
                books = [book for of_part in await self._look() for book in of_part]
                if sum(book.done for book in books) >= SEEN_BEFORE_THE_DEATH * sum(book.total for book in books):
                    return
                await anyio.sleep(LOOK_EVERY_SECONDS)

    async def _look(self) -> list[Sequence[Book]]:
        self._scene.must_run()
        metrics = await self._running.metrics()
        books = [await part.look(metrics) for part in self._scene.parts]
        self._progress.show([book for of_part in books for book in of_part])
        return books
