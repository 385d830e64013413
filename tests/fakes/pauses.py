"""Which fake replaces the store of paused mappings? A set that outlives the daemon. A test can make it fail."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint as turn

from poller.errors import Unreachable
from poller.model.ids import MappingName


class FakePauses:
    """`ports.PauseStore`. While `is_broken` is true, calls other than `load` fail. Changes wait until `go` is set."""

    def __init__(self) -> None:
        self.paused: set[MappingName] = set()
        self.is_broken = False
        self.go = anyio.Event()
        self.go.set()

    async def load(self) -> frozenset[MappingName]:
        await turn()
        return frozenset(self.paused)

    async def is_paused(self, mapping: MappingName) -> bool:
        await turn()
        if self.is_broken:
            raise Unreachable("the store refuses, by plan", code="StoreFailed", was_sent=False)
        return mapping in self.paused

    async def pause(self, mapping: MappingName) -> None:
        await self._change()
        self.paused.add(mapping)

    async def resume(self, mapping: MappingName) -> None:
        await self._change()
        self.paused.discard(mapping)

    async def _change(self) -> None:
        await turn()
        await self.go.wait()
        if self.is_broken:
            raise Unreachable("the store refuses, by plan", code="StoreFailed", was_sent=False)
