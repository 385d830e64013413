from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.leases.expiry import is_drained
from poller.errors import InUse, Throttled, Unreachable
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import Checkpoint, ShardEnd, TrimHorizon
from poller.stores.dynamodb_items import Items
from poller.stores.dynamodb_table import made_ready
from poller.stores.kcl_leases import WATCHED_IN_SECONDS, KclLeaseStore, refuse_while_kcl_runs
from poller.stores.kcl_rows import renewed_by_kcl
from poller.stores.notation import CheckpointMovedBack
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.faults import Fault
from tests.unit.stores.test_kcl_rows import CHILD, ME, MEANING, PARENT, STREAM

pytestmark = pytest.mark.anyio

KEY = RowKey(f"clicks/{STREAM}/shardId-000000000001")
NEW = RowKey(f"clicks/{STREAM}/shardId-000000000002")
METRICS = {"leaseKey": {"S": "ip-10-0-0-1"}, "entityType": {"S": "WORKER_METRICS"}, "leaseCounter": {"N": "5"}}


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def table_of_kcl() -> tuple[FakeDynamoDb, KclLeaseStore]:
    """Return the table of a KCL application with two shards, and a store over it."""
    service = FakeDynamoDb()
    await made_ready(service, "my-application", option="kcl_table")
    table = service.tables["my-application"]
    for item in (PARENT, CHILD, METRICS):
        table.items[table.key_of(item)] = dict(item)
    service.calls.clear()
    return service, store_over(service)


def store_over(service: FakeDynamoDb) -> KclLeaseStore:
    return KclLeaseStore(Items(service, table="my-application", randomness=Random(0)), MEANING)


def item(service: FakeDynamoDb, key: str) -> Any:
    return next(item for item in service.tables["my-application"].items.values() if item["leaseKey"] == {"S": key})


def operations(service: FakeDynamoDb) -> dict[str, int]:
    return dict(Counter(operation for operation, _ in service.calls))


def following(row: Row, **changes: Any) -> Row:
    return replace(row, counter=row.counter + 1, **changes)


async def scanned(store: KclLeaseStore) -> Row:
    """Return the row of the child."""
    return {row.key: row for row in await store.scan()}[KEY]


async def test_items_that_are_no_leases_are_not_rows() -> None:
    service, store = await table_of_kcl()
    assert {row.key for row in await store.scan()} == {KEY, f"clicks/{STREAM}/shardId-000000000000"}
    key = RowKey(f"clicks/{STREAM}/ip-10-0-0-1")
    assert await store.read([key]) == {}
    assert await store.update([Row(key=key, counter=7, checkpoint=Checkpoint(TrimHorizon()))]) == {key}
    assert item(service, "ip-10-0-0-1") == METRICS


async def test_a_renewal_is_one_request_that_sets_the_counter_alone() -> None:
    service, store = await table_of_kcl()
    row = await scanned(store)
    for _ in range(3):
        service.calls.clear()
        row = following(row)
        await store.update([row])
        ((operation, request),) = service.calls
        assert (operation, request["UpdateExpression"]) == ("UpdateItem", "SET #s0 = :s0")
        assert request["ExpressionAttributeNames"] == {"#s0": "leaseCounter"}


async def test_an_attribute_that_another_program_has_set_meanwhile_stays() -> None:
    service, store = await table_of_kcl()
    row = await scanned(store)
    item(service, "shardId-000000000001")["note"] = {"S": "of a person"}
    await store.update([following(row, owner=ME)])
    assert item(service, "shardId-000000000001")["note"] == {"S": "of a person"}


async def test_a_row_that_kcl_has_renewed_is_rejected() -> None:
    service, store = await table_of_kcl()
    row = await scanned(store)
    item(service, "shardId-000000000001")["leaseCounter"] = {"N": "58"}
    for _ in range(2):
        assert await store.update([following(row, owner=ME)]) == {KEY}
    assert item(service, "shardId-000000000001") == {**CHILD, "leaseCounter": {"N": "58"}}


async def test_a_row_that_another_worker_has_read_is_read_before_it_is_updated() -> None:
    service, store = await table_of_kcl()
    row = await scanned(store_over(service))
    service.calls.clear()
    assert await store.update([following(row, owner=ME)]) == frozenset()
    assert operations(service) == {"BatchGetItem": 1, "UpdateItem": 1}


async def test_a_row_that_was_rejected_is_not_remembered_as_written() -> None:
    """The second update follows a row that this store object has not read."""
    service, store = await table_of_kcl()
    row = await scanned(store)
    theirs = following(row, owner=Owner("the other"), token=59)
    await store_over(service).update([theirs])
    assert await store.update([following(row, owner=ME, token=59)]) == {KEY}
    ours = following(theirs, owner=ME, token=60)
    assert await store.update([ours]) == frozenset()
    assert await store_over(service).read([KEY]) == {KEY: ours}


async def test_a_row_that_does_not_exist_is_not_replaced() -> None:
    service, store = await table_of_kcl()
    assert await store.update([Row(key=NEW, counter=2, checkpoint=Checkpoint(TrimHorizon()))]) == {NEW}
    row = await scanned(store)
    await store_over(service).delete([row])
    assert await store.update([following(row)]) == {KEY}
    assert len(await store.scan()) == 1


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.UNREACHABLE])
async def test_after_an_error_the_row_is_read_again(fault: Fault) -> None:
    service, store = await table_of_kcl()
    row = await scanned(store)
    service.faults.script("UpdateItem", fault)
    with pytest.raises(Unreachable):
        await store.update([following(row, owner=ME)])
    row = (await store.read([KEY]))[KEY]
    assert await store.update([following(row, owner=Owner("me"))]) == frozenset()
    assert item(service, "shardId-000000000001")["leaseOwner"] == {"S": "me"}


async def test_a_throttled_row_is_written_later_and_the_others_at_once() -> None:
    service, store = await table_of_kcl()
    rows = await store.scan()
    service.hot_keys.add("shardId-000000000000")
    with pytest.raises(Throttled):
        await store.update([following(row) for row in rows])
    service.hot_keys.clear()
    rows = list((await store.read([row.key for row in rows])).values())
    assert sorted(row.counter for row in rows) == [59, 1235]
    assert await store.update([following(row) for row in rows]) == frozenset()


async def test_a_checkpoint_never_moves_back() -> None:
    service, store = await table_of_kcl()
    row = await scanned(store)
    with pytest.raises(CheckpointMovedBack, match="shardId-000000000001"):
        await store.update([following(row, checkpoint=Checkpoint(TrimHorizon()))])
    assert item(service, "shardId-000000000001") == CHILD
    assert await store.update([following(row, checkpoint=Checkpoint(ShardEnd()))]) == frozenset()


async def test_leases_are_created_once_and_deleted_by_their_counter() -> None:
    _, store = await table_of_kcl()
    new = Row(key=NEW, checkpoint=Checkpoint(TrimHorizon()), details={"parents": ["shardId-000000000000"]})
    assert await store.create([new, Row(key=KEY, checkpoint=new.checkpoint)]) == {KEY}
    assert await store.read([NEW]) == {NEW: new}
    newer = following(new, owner=ME, token=2)
    assert await store.update([newer]) == frozenset()
    assert await store.delete([new]) == {NEW}
    assert await store.delete([newer]) == frozenset()
    assert await store.read([NEW]) == {}
    assert await store.create([newer]) == frozenset(), "a worker creates a lost row again"
    assert await store.read([NEW]) == {NEW: newer}


@pytest.mark.parametrize("seconds", [5, 14, 55])
async def test_a_table_whose_leases_kcl_still_renews_is_refused(seconds: float) -> None:
    """An application whose `failoverTimeMillis` is 45,000 renews each lease every 15 seconds."""
    service, store = await table_of_kcl()
    watched: list[int] = []
    await refuse_while_kcl_runs(store, await store.scan(), option="kcl_table", watches=watched.append)
    assert watched == [1]

    async def renew() -> None:
        await anyio.sleep(seconds)
        item(service, "shardId-000000000001")["leaseCounter"] = {"N": "58"}

    async with anyio.create_task_group() as kcl:
        kcl.start_soon(renew)
        with pytest.raises(InUse) as error:
            await refuse_while_kcl_runs(store, await store.scan(), option="kcl_table", watches=print)
    assert str(error.value) == (
        f"kcl_table: a KCL application still renews 1 of its leases, such as {KEY}; stop it first"
    )


@pytest.mark.parametrize("owner", [ME, None])
async def test_a_table_that_only_our_workers_write_is_not_refused(owner: Owner | None) -> None:
    _, store = await table_of_kcl()
    row = await scanned(store)

    async def renew() -> None:
        await anyio.sleep(5)
        await store.update([following(row, owner=owner)])

    async with anyio.create_task_group() as worker:
        worker.start_soon(renew)
        await refuse_while_kcl_runs(store, await store.scan(), option="kcl_table", watches=print)


async def test_a_table_in_which_kcl_owns_only_drained_shards_is_taken_over_without_a_pause() -> None:
    _, store = await table_of_kcl()
    owned = [row for row in await store.scan() if row.owner is not None and not is_drained(row)]
    began = anyio.current_time()
    await refuse_while_kcl_runs(store, await store.scan(), option="kcl_table", watches=print)
    assert anyio.current_time() - began == WATCHED_IN_SECONDS
    await store.update([following(row, owner=ME) for row in owned])
    began = anyio.current_time()
    await refuse_while_kcl_runs(store, await store.scan(), option="kcl_table", watches=print)
    assert anyio.current_time() == began


async def test_a_lease_that_kcl_creates_meanwhile_shows_that_it_runs() -> None:
    _, store = await table_of_kcl()
    before = await store.scan()
    await store.delete([row for row in before if row.key == KEY])
    without = await store.scan()
    assert renewed_by_kcl(without, before) == [KEY]
    assert renewed_by_kcl(before, without) == []
