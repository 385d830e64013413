"""How does a pause reach the other workers? Each scan of the shared state shows a worker which mappings are paused.

    a person ── pause ──> one worker ──> the state ── the next scan of another worker ──> its supervisor

A scan may show the state as it was some seconds ago. So it is only a hint, and the supervisor reads the pause again
before it changes a mapping.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable

import anyio

from poller.model.ids import MappingName
from poller.model.lease import Row, paused_in


class PausesSeen:
    """The paused mappings that the last scan has shown."""

    def __init__(self) -> None:
        self._paused: frozenset[MappingName] = frozenset()
        self._scanned = anyio.Event()

    def scanned(self, rows: Iterable[Row]) -> None:
        """Note which pauses the rows of a scan show."""
        self._paused = paused_in(row.key for row in rows)
        self._scanned.set()

    async def run(self, follow: Callable[[Collection[MappingName]], Awaitable[None]]) -> None:
        """Call `follow` with the paused mappings after each scan, until cancelled.

        If several scans end during a call, one more call follows.
        """
        while True:
            await self._scanned.wait()
            self._scanned = anyio.Event()
            await follow(self._paused)
