"""Which fake replaces the store of paused mappings? A table that outlives the daemon. A test can make it fail."""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint as turn

from poller.errors import Unreachable
from poller.model.ids import MappingName
from poller.model.lease import Pause


class FakePauses:
    """`ports.PauseStore`. While `is_broken` is true, calls other than `load` fail. Changes wait until `go` is set."""

    def __init__(self) -> None:
        self.paused: dict[MappingName, Pause] = {}
        self.is_broken = False
        self.go = anyio.Event()
        self.go.set()

    async def load(self) -> dict[MappingName, Pause]:
        await turn()
        return dict(self.paused)

    async def read(self, mapping: MappingName) -> Pause | None:
        await turn()
        if self.is_broken:
            raise Unreachable("the store refuses, by plan", code="StoreFailed", was_sent=False)
        return self.paused.get(mapping)

    async def pause(self, mapping: MappingName, *, at: float) -> Pause:
        await self._change()
        return self.paused.setdefault(mapping, Pause(at))

    async def resume(self, mapping: MappingName) -> None:
        await self._change()
        self.paused.pop(mapping, None)

    async def _change(self) -> None:
        await turn()
        await self.go.wait()
        if self.is_broken:
            raise Unreachable("the store refuses, by plan", code="StoreFailed", was_sent=False)
