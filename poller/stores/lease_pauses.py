"""Which mappings are paused, for all workers of a table of leases? Each paused mapping has a row in the table."""

from __future__ import annotations

from poller.model.ids import MappingName
from poller.model.lease import Row, pause_key, paused_in
from poller.ports import LeaseStore


class LeasePauses:
    """`ports.PauseStore` in a table of leases. The row of a pause is created and deleted, and never updated."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store

    async def load(self) -> frozenset[MappingName]:
        return paused_in(row.key for row in await self._store.scan())

    async def is_paused(self, mapping: MappingName) -> bool:
        return bool(await self._store.read([pause_key(mapping)]))

    async def pause(self, mapping: MappingName) -> None:
        await self._store.create([_row(mapping)])

    async def resume(self, mapping: MappingName) -> None:
        await self._store.delete([_row(mapping)])


def _row(mapping: MappingName) -> Row:
    return Row(key=pause_key(mapping))
