"""When is it over? When every record has met its fate and the numbers add up, or when nothing moves any more."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.demo.books import Book
from poller.demo.daemon import Daemon
from poller.demo.scenes import Scene
from poller.demo.screen import Bars, Lines

LOOK_EVERY_SECONDS = 0.4
NOTHING_MOVES_AFTER_SECONDS = 15.0
"""Several visibility timeouts: whatever would come again has come."""

LONGEST_WATCH_IN_SECONDS = 90.0


class Watch:
    """Sends what the parts have to send, and looks on until all of it has met its fate."""

    def __init__(self, scene: Scene, running: Daemon, progress: Bars | Lines) -> None:
        self._scene = scene
        self._running = running
        self._progress = progress

    async def until_settled(self) -> list[Sequence[Book]]:
        """Each part's books at the end: they add up, or nothing has moved for a while, or it took too long."""
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
        """One part after the other; a look now and then, for the eye."""
        looked = anyio.current_time()
        for part in self._scene.parts:
            async for _ in part.send():
                if anyio.current_time() - looked > LOOK_EVERY_SECONDS:
                    await self._look()
                    looked = anyio.current_time()

    async def _look(self) -> list[Sequence[Book]]:
        self._scene.must_run()
        metrics = await self._running.metrics()
        books = [await part.look(metrics) for part in self._scene.parts]
        self._progress.show([book for of_part in books for book in of_part])
        return books
