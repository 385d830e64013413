"""Which mappings are paused, for all workers of a table of leases? Each paused mapping has a row in the table.

:pause/MAPPING      details: since, the time of the pause in epoch seconds; the rows of older versions lack it
"""

from __future__ import annotations

from poller.model.ids import MappingName
from poller.model.lease import PAUSE, Pause, Row, pause_key, time_in
from poller.ports import LeaseStore


class LeasePauses:
    """`ports.PauseStore` in a table of leases. The row of a pause is created and deleted, and never updated."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store

    async def load(self) -> dict[MappingName, Pause]:
        rows = [row for row in await self._store.scan() if row.key.startswith(PAUSE)]
        return {MappingName(row.key.removeprefix(PAUSE)): _pause(row) for row in rows}

    async def read(self, mapping: MappingName) -> Pause | None:
        key = pause_key(mapping)
        row = (await self._store.read([key])).get(key)
        return None if row is None else _pause(row)

    async def pause(self, mapping: MappingName, *, at: float) -> Pause:
        exists = await self._store.create([Row(key=pause_key(mapping), details={"since": at})])
        before = await self.read(mapping) if exists else None
        return before or Pause(at)

    async def resume(self, mapping: MappingName) -> None:
        await self._store.delete([Row(key=pause_key(mapping))])


def _pause(row: Row) -> Pause:
    return Pause(time_in(row.details.get("since")))
