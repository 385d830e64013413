"""Is the table of a KCL application taken over and given back? The fake and emulators have rows as KCL writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random
from uuid import uuid4

import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.model.lease import Row, RowKey, begun_key
from poller.model.stream import AfterSequence, AtTimestamp, Checkpoint, TrimHorizon
from poller.stores.dynamodb_items import Item, Items
from poller.stores.dynamodb_table import made_ready
from poller.stores.kcl_leases import KclLeaseStore
from poller.stores.lease_by_hand import Hand
from poller.stores.memory_leases import MemoryLeaseStore
from tests.fakes.dynamodb import FakeDynamoDb
from tests.unit.stores.test_kcl_rows import CHILD, ME, MEANING, NEXT, PARENT, STREAM

pytestmark = pytest.mark.anyio

METRICS: Item = {"leaseKey": {"S": "ip-10-0-0-1"}, "entityType": {"S": "WORKER_METRICS"}, "leaseCounter": {"N": "5"}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["fake", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ministack", "moto"))])
async def table(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[Items]:
    """Return the table of a KCL application with two shards."""
    name, randomness = f"my-application-{uuid4().hex}", Random(0)
    if request.param == "fake":
        service = FakeDynamoDb()
        await made_ready(service, name, option="kcl_table")
        yield await filled(Items(service, table=name, randomness=randomness))
        return
    endpoint_url = request.getfixturevalue(request.param)
    request.getfixturevalue("account")
    async with Aws(AwsSettings(region="eu-west-1", endpoint_url=endpoint_url)) as aws:
        client = await aws.json_client("dynamodb")
        await made_ready(client, name, option="kcl_table")
        yield await filled(Items(client, table=name, randomness=randomness))


async def filled(table: Items) -> Items:
    key_of = {item["leaseKey"]["S"]: item for item in (PARENT, CHILD, METRICS)}
    put = {key: {"Item": item, "ConditionExpression": "attribute_not_exists(leaseKey)"} for key, item in key_of.items()}
    assert await table.write("PutItem", put) == frozenset()
    return table


async def item(table: Items, key: str) -> Item:
    """Return an item, with the members of sets in order."""
    (found,) = await table.read([key])
    return {
        name: {kind: sorted(of_kind) if kind == "SS" else of_kind for kind, of_kind in value.items()}
        for name, value in found.items()
    }


async def test_the_table_of_a_kcl_application_is_taken_over_and_given_back(table: Items) -> None:
    store = KclLeaseStore(table, MEANING)
    (row,) = [row for row in await store.scan() if row.key.endswith("1")]
    row = replace(row, counter=row.counter + 1, owner=ME, token=row.counter + 1)
    assert await store.update([row]) == frozenset()
    row = replace(row, counter=60, checkpoint=Checkpoint(AfterSequence(NEXT)), details={**row.details, "since": 7})
    assert await store.update([row]) == frozenset()
    assert await store.read([row.key]) == {row.key: row}
    assert await store.update([replace(row, counter=61, owner=None)]) == frozenset()
    assert await item(table, "shardId-000000000001") == {
        "leaseKey": {"S": "shardId-000000000001"},
        "leaseCounter": {"N": "60"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "checkpoint": {"S": NEXT},
        "checkpointSubSequenceNumber": {"N": "0"},
        "parentShardId": {"SS": ["shardId-000000000000"]},
        "startingHashKey": {"S": "0"},
        "endingHashKey": {"S": "170141183460469231731687303715884105727"},
        "throughputKBps": {"N": "12.5"},
        "of another program": {"M": {}},
        "fencingToken": {"N": "59"},
        "pollerPosition": {"S": f"AFTER_SEQUENCE_NUMBER {NEXT}"},
        "pollerDetails": {"S": '{"since":7}'},
    }
    assert (await item(table, "shardId-000000000000"))["leaseCounter"] == PARENT["leaseCounter"]
    assert await item(table, "ip-10-0-0-1") == METRICS


async def test_the_positions_of_a_state_replace_the_leases_of_a_table_and_its_counters_go_on(table: Items) -> None:
    state, store = MemoryLeaseStore(), KclLeaseStore(table, MEANING)
    gone, child, new = (RowKey(f"clicks/{STREAM}/shardId-00000000000{number}") for number in (0, 1, 9))
    begun = Row(key=begun_key(MEANING.state_key))
    at_next = Row(key=child, checkpoint=Checkpoint(AfterSequence(NEXT)), details={"parents": ["shardId-000000000000"]})
    at_time = Row(key=new, counter=80, checkpoint=Checkpoint(AtTimestamp(12.5)))
    rows = [begun, at_next, at_time]
    await state.create(rows)
    assert gone in {row.key for row in await store.scan()}
    hand = Hand(state, rows, tell=print)
    for _ in range(2):  # the second call completes a copy that has ended in the middle
        assert await hand.copy_into(store, MEANING.state_key) == 2
    found = {row.key: row for row in await KclLeaseStore(table, MEANING).scan()}
    assert found.keys() == {child, new}
    assert found[child] == replace(at_next, counter=60)
    assert found[new] == replace(at_time, counter=81)
    changed = await item(table, "shardId-000000000001")
    assert changed["of another program"] == {"M": {}}, "what poller does not know stays"
    assert "leaseOwner" not in changed
    assert await item(table, "ip-10-0-0-1") == METRICS


async def test_only_one_of_two_workers_that_have_read_the_same_row_writes_it(table: Items) -> None:
    stores = [KclLeaseStore(table, MEANING) for _ in range(2)]
    (row,) = [row for row in await stores[0].scan() if row.key.endswith("1")]
    await stores[1].scan()
    new = replace(row, counter=row.counter + 1, owner=ME)
    answers = [await store.update([new]) for store in stores]
    assert answers == [frozenset(), {row.key}]


async def test_a_child_of_a_shard_is_created_and_drained(table: Items) -> None:
    store = KclLeaseStore(table, MEANING)
    key = RowKey(f"clicks/{STREAM}/shardId-000000000009")
    row = Row(key=key, checkpoint=Checkpoint(TrimHorizon()), details={"parents": ["shardId-000000000001"]})
    assert await store.create([row]) == frozenset()
    assert await store.create([row]) == {key}
    assert await store.read([key]) == {key: row}
    assert await store.delete([replace(row, counter=2)]) == {key}
    assert await store.delete([row]) == frozenset()
    assert await store.read([key]) == {}
