from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import AccessDenied, Rejected, Throttled, Unreachable
from poller.model.lease import Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber
from poller.stores.dynamodb_items import THROTTLE_PAUSES_IN_SECONDS, WRITES_AT_ONCE, Items
from poller.stores.dynamodb_leases import DynamoDbLeaseStore
from poller.stores.dynamodb_rows import item_of
from poller.stores.dynamodb_table import made_ready
from poller.stores.notation import CheckpointMovedBack
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.faults import Fault, FaultPlan, Outage

pytestmark = pytest.mark.anyio

KEYS = [RowKey(f"clicks/stream/{number:04}") for number in range(250)]
ROWS = [Row(key=key) for key in KEYS]
TRIES = len(THROTTLE_PAUSES_IN_SECONDS) + 1


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def ready(**options: Any) -> tuple[FakeDynamoDb, DynamoDbLeaseStore]:
    service = FakeDynamoDb(**options)
    await made_ready(service, "leases", option="daemon.state")
    service.calls.clear()
    return service, DynamoDbLeaseStore(Items(service, table="leases", randomness=Random(0)))


def operations(service: FakeDynamoDb) -> dict[str, int]:
    return dict(Counter(operation for operation, _ in service.calls))


async def test_a_row_costs_one_request_a_read_one_for_each_hundred_and_a_scan_one_for_each_page() -> None:
    service, store = await ready()
    await store.create(ROWS)
    await store.read(KEYS)
    await store.scan()
    await store.update([Row(key=key, counter=2) for key in KEYS])
    await store.delete([Row(key=key, counter=2) for key in KEYS])
    assert operations(service) == {"PutItem": 500, "BatchGetItem": 3, "Scan": 3, "DeleteItem": 250}


async def test_a_rejected_row_costs_one_read_which_shows_whether_its_checkpoint_would_move_back() -> None:
    service, store = await ready()
    await store.create(ROWS[:3])
    service.calls.clear()
    assert await store.update([Row(key=KEYS[0], counter=2), Row(key=KEYS[1], counter=5)]) == {KEYS[1]}
    assert operations(service) == {"PutItem": 2, "BatchGetItem": 1}
    (_, request) = service.calls[-1]
    assert request["RequestItems"]["leases"]["Keys"] == [{"leaseKey": {"S": KEYS[1]}}]


async def test_keys_that_were_not_processed_are_read_again() -> None:
    service, store = await ready()
    await store.create(ROWS)
    service.items_in_an_answer = 40
    assert (await store.read(KEYS)).keys() == set(KEYS)
    assert len(await store.scan()) == 250


async def test_a_read_that_makes_no_progress_ends() -> None:
    service, store = await ready()
    await store.create(ROWS[:1])
    service.items_in_an_answer = 0
    service.calls.clear()
    with pytest.raises(Throttled):
        await store.read(KEYS[:1])
    assert operations(service) == {"BatchGetItem": TRIES}


@pytest.mark.parametrize("operation", ["Scan", "BatchGetItem", "PutItem", "DeleteItem"])
async def test_a_throttled_request_is_sent_again_after_pauses(operation: str) -> None:
    service, store = await ready()
    await store.create(ROWS[:1])
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "Scan": lambda: store.scan(),
        "BatchGetItem": lambda: store.read(KEYS[:1]),
        "PutItem": lambda: store.create(ROWS[1:2]),
        "DeleteItem": lambda: store.delete(ROWS[2:3]),
    }
    began_at = anyio.current_time()
    service.faults.script(operation, *[Fault.THROTTLED] * (TRIES - 1))
    await calls[operation]()
    assert 0.5 * sum(THROTTLE_PAUSES_IN_SECONDS) <= anyio.current_time() - began_at <= 1.2
    service.faults.script(operation, *[Fault.THROTTLED] * TRIES)
    with pytest.raises(Throttled):
        await calls[operation]()


async def test_two_throttled_workers_do_not_try_again_at_the_same_moments() -> None:
    moments = []
    for seed in (1, 2):
        service, _ = await ready()
        began_at = anyio.current_time()
        service.faults.script("Scan", Fault.THROTTLED)
        await DynamoDbLeaseStore(Items(service, table="leases", randomness=Random(seed))).scan()
        moments.append(anyio.current_time() - began_at)
    assert moments[0] != moments[1]


async def test_throttled_rows_do_not_keep_the_others_from_being_written() -> None:
    service, store = await ready(faults=FaultPlan(latency_in_seconds=(0.1, 0.1)))
    service.hot_keys.update(KEYS[::5])
    with pytest.raises(Throttled):
        await store.create(ROWS)
    assert {row.key for row in await store.scan()} == set(KEYS) - set(KEYS[::5])


async def test_only_a_condition_that_is_not_true_makes_a_rejected_row() -> None:
    service, store = await ready()
    service.tables["leases"].schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    for write in (store.create, store.delete):
        with pytest.raises(Rejected) as error:
            await write(ROWS[:1])
        assert error.value.code == "ValidationException"


async def test_rows_are_not_sent_in_vain_once_the_service_cannot_be_reached_or_refuses() -> None:
    service, store = await ready()
    now = anyio.current_time()
    service.faults.outages.append(Outage(now, now + 10, Fault.UNREACHABLE))
    with pytest.raises(Unreachable):
        await store.create(ROWS)
    assert service.calls == []
    await anyio.sleep(10)
    service.forbidden.add("PutItem")
    with pytest.raises(AccessDenied):
        await store.create(ROWS)
    assert operations(service)["PutItem"] <= WRITES_AT_ONCE


@pytest.mark.parametrize("rank_in_item", [{"S": "3"}, {"N": "3"}])
async def test_the_rank_of_another_position_does_not_stop_a_checkpoint(rank_in_item: dict[str, str]) -> None:
    service, store = await ready()
    row = Row(key=KEYS[0], checkpoint=Checkpoint(AfterSequence(SequenceNumber("5"))))
    await store.create([row, ROWS[1]])
    table, found = service.table("leases"), {**item_of(row), "checkpointRank": rank_in_item}
    table.items[table.key_of(found)] = found
    new = replace(row, counter=2, checkpoint=Checkpoint(AfterSequence(SequenceNumber("6"))))
    back = replace(row, counter=2, checkpoint=Checkpoint(AfterSequence(SequenceNumber("4"))))
    with pytest.raises(CheckpointMovedBack):
        await store.update([back])
    assert await store.update([new, replace(ROWS[1], counter=5)]) == {KEYS[1]}
    assert table.items[table.key_of(found)] == item_of(new)


async def test_a_write_whose_answer_is_lost_may_have_been_made() -> None:
    service, store = await ready()
    service.faults.script("PutItem", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable) as error:
        await store.create(ROWS[:1])
    assert error.value.was_sent
    assert await store.scan() == ROWS[:1]


async def test_rows_are_written_at_the_same_time_but_not_all() -> None:
    _, store = await ready(faults=FaultPlan(latency_in_seconds=(0.1, 0.1)))
    began_at = anyio.current_time()
    await store.create(ROWS[: 3 * WRITES_AT_ONCE])
    assert anyio.current_time() - began_at == pytest.approx(3 * 0.2)


async def test_a_scan_of_a_table_of_something_else_is_refused() -> None:
    service, store = await ready()
    service.tables["leases"].items["photo"] = {"leaseKey": {"S": "photo"}, "width": {"N": "9"}}
    with pytest.raises(Rejected, match="was not written by poller"):
        await store.scan()


@pytest.mark.parametrize("answer", [[], None, "text", {}])
async def test_an_answer_of_another_shape_counts_as_no_answer(answer: object) -> None:
    class Odd:
        async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
            return answer

    store = DynamoDbLeaseStore(Items(Odd(), table="leases", randomness=Random(0)))
    for read in (store.scan, lambda: store.read(KEYS)):
        with pytest.raises(Unreachable) as error:
            await read()
        assert error.value.code == "UnusableAnswer"
