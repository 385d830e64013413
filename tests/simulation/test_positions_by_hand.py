"""Do the workers keep what a person does to stored positions? They create no row again that a person has deleted."""

from __future__ import annotations

from collections.abc import Collection

import anyio
import pytest

from poller.facts import LostLeaseRowsCreated
from poller.model.lease import Row, RowKey, begun_key, prefix_of
from poller.model.stream import Latest, TrimHorizon
from poller.stores.lease_by_hand import Hand
from tests.fakes.lease_store import FakeLeaseTable, Operation
from tests.simulation.one_stream import play
from tests.simulation.stream_workers import WorkersWorld, reading, until

LONGER_THAN_A_SCAN = 21.0


class ByHand:
    """The table of the workers, as a person changes it. Implements `lease_by_hand.EditableStore`."""

    def __init__(self, table: FakeLeaseTable) -> None:
        self._table = table

    async def scan(self) -> list[Row]:
        return list(self._table.rows.values())

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        return {key: row for key, row in self._table.rows.items() if key in keys}

    async def create(self, *groups: Collection[Row]) -> frozenset[RowKey]:
        return self._write("create", [row for group in groups for row in group])

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return self._write("update", rows)

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return self._write("delete", rows)

    async def overwrite(self, rows: Collection[Row]) -> frozenset[RowKey]:
        return self._write("overwrite", rows)

    def _write(self, operation: Operation, rows: Collection[Row]) -> frozenset[RowKey]:
        now = anyio.current_time()
        return frozenset(row.key for row in rows if not self._table.write("a person", operation, row, sent_at=now))


@pytest.mark.parametrize("seconds", [1, 3, 6, 9, 12])
@pytest.mark.parametrize("workers", [1, 2])
def test_positions_that_a_person_sets_during_a_pause_hold_after_the_resume(seconds: float, workers: int) -> None:
    world = WorkersWorld(starting_position=TrimHorizon())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks) for _ in range(workers)]
            await until(lambda: sum(map(reading, lives)) == 1, within=30)
            world.put("a", "before")
            await until(lambda: world.succeeded == ["before"], within=5)
            await anyio.sleep(LONGER_THAN_A_SCAN)
            for life in lives:
                await life.supervisor.pause(world.mapping.name)
            await anyio.sleep(1)
            store = ByHand(world.store.table)
            hand = Hand(store, await store.scan(), tell=lambda _: None)
            await hand.start_over(world.mapping.state_key, Latest())
            await anyio.sleep(seconds)
            for life in lives:
                await life.supervisor.resume(world.mapping.name)
            await anyio.sleep(5)
            world.put("a", "after")
            await anyio.sleep(30)
            for life in lives:
                life.begin_stop()
        assert world.facts_of(LostLeaseRowsCreated) == []
        assert world.succeeded == ["before", "after"]

    play(world, main)


@pytest.mark.parametrize("seconds", [1, 6, 12])
def test_a_mapping_whose_rows_a_person_has_deleted_while_it_was_not_loaded_begins_anew(seconds: float) -> None:
    world = WorkersWorld(starting_position=Latest())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await until(lambda: reading(life) == 1, within=30)
            world.put("a", "before")
            await until(lambda: world.succeeded == ["before"], within=5)
            await anyio.sleep(LONGER_THAN_A_SCAN)
            mapping = world.mapping
            await life.supervisor.remove(mapping.name)
            await anyio.sleep(1)
            world.put("a", "meanwhile")
            store, key = ByHand(world.store.table), mapping.state_key
            rows = [row for row in await store.scan() if row.key.startswith((prefix_of(key), begun_key(key)))]
            assert len(rows) == 2
            await store.delete(rows)
            await anyio.sleep(seconds)
            await life.supervisor.add(mapping, life.function(mapping))
            await anyio.sleep(5)
            world.put("a", "after")
            await anyio.sleep(30)
            life.begin_stop()
        assert world.facts_of(LostLeaseRowsCreated) == []
        assert world.succeeded == ["before", "after"]

    play(world, main)
