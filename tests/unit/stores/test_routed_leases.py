"""Is each row in the store where it belongs?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import Throttled
from poller.model.lease import Owner, Row, RowKey
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.routed_leases import RoutedLeaseStore
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

CLICKS = "clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/"
USERS = "users/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/"
OWNER = Owner(f"blue-1/{'0' * 32}")
OF_TABLE = [Row(key=RowKey(f"{CLICKS}{shard}")) for shard in ("shard-1", "shard-2")]
OF_STATE = [
    *(Row(key=RowKey(key)) for key in (f"{USERS}shard-1", ":pause/clicks", f":begun/{CLICKS.rstrip('/')}")),
    Row(key=RowKey(f":worker/{OWNER}"), owner=OWNER),
]


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def by_key(rows: list[Row]) -> dict[RowKey, Row]:
    return {row.key: row for row in rows}


async def test_only_the_shards_of_a_routed_mapping_are_in_its_table() -> None:
    state, table = MemoryLeaseStore(), MemoryLeaseStore()
    store = RoutedLeaseStore(state)
    store.route(CLICKS, table)
    assert await store.create([*OF_TABLE, *OF_STATE]) == frozenset()
    assert by_key(await table.scan()) == by_key(OF_TABLE)
    assert by_key(await state.scan()) == by_key(OF_STATE)
    keys = [row.key for row in (*OF_TABLE, *OF_STATE)]
    assert await store.read(keys) == by_key([*OF_TABLE, *OF_STATE]) == by_key(await store.scan())
    new = [Row(key=row.key, counter=2) for row in (OF_TABLE[0], OF_STATE[0])]
    assert await store.update(new) == frozenset()
    assert await store.update([*new, Row(key=OF_TABLE[1].key, counter=2)]) == {row.key for row in new}
    assert await store.delete([OF_TABLE[0], OF_STATE[0], *OF_STATE[1:]]) == {row.key for row in new}
    assert by_key(await table.scan()) == by_key([new[0], Row(key=OF_TABLE[1].key, counter=2)])
    assert by_key(await state.scan()) == by_key([new[1]])


async def test_the_shards_that_a_mapping_had_in_the_state_before_are_not_read_any_more() -> None:
    state, table = MemoryLeaseStore(), MemoryLeaseStore()
    await state.create([Row(key=OF_TABLE[0].key, token=7), OF_STATE[0]])
    await table.create([OF_TABLE[1]])
    store = RoutedLeaseStore(state)
    store.route(CLICKS, table)
    assert by_key(await store.scan()) == by_key([OF_TABLE[1], OF_STATE[0]])
    assert await store.read([OF_TABLE[0].key]) == {}


async def test_a_call_is_as_long_as_its_slowest_store_and_fails_if_one_of_them_fails() -> None:
    tables = [FakeLeaseTable(), FakeLeaseTable()]
    plans = [FaultPlan(latency_in_seconds=(1.0, 1.0)) for _ in tables]
    store = RoutedLeaseStore(tables[0].store("me", plans[0]))
    store.route(CLICKS, tables[1].store("me", plans[1]))
    began = anyio.current_time()
    await store.create([*OF_TABLE, *OF_STATE])
    assert anyio.current_time() - began == pytest.approx(2)
    plans[1].script("update", Fault.THROTTLED)
    with pytest.raises(Throttled):
        await store.update([Row(key=row.key, counter=2) for row in (OF_TABLE[0], OF_STATE[0])])
    assert tables[0].rows[OF_STATE[0].key].counter == 2, "the other store has done its part"
    plans[1].script("scan", Fault.THROTTLED)
    with pytest.raises(Throttled):
        await store.scan()
