"""What must every state do that a person may change? See stores/lease_by_hand.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, Latest, SequenceNumber, ShardEnd, TrimHorizon, Window
from poller.stores.lease_by_hand import EditableStore
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.contracts.test_lease_store import in_new_table
from tests.fakes.dynamodb import FakeDynamoDb

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
A, B, C = (RowKey(f"clicks/{STREAM}/shardId-00000000000{number}") for number in range(3))
OWNER = Owner(f"blue-1/{'0' * 32}")
WINDOW = Window(0, 60, b'{"sum":1}')
AFTER_5 = Checkpoint(AfterSequence(SequenceNumber("5")), WINDOW)
STORED = Row(key=A, counter=9, token=7, checkpoint=AFTER_5, details={"parents": ["shardId-0"], "saved_at": 5})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(
    params=["memory", "sqlite", "fake", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ministack", "moto"))]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EditableStore]:
    async with opened(request.param, request, tmp_path) as store:
        yield store


@asynccontextmanager
async def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[EditableStore]:
    match kind:
        case "memory":
            yield MemoryLeaseStore()
        case "sqlite":
            async with SqliteLeaseStore(folder / "poller.db") as store:
                yield store
        case "fake":
            yield await in_new_table(FakeDynamoDb())
        case emulator:
            endpoint_url = request.getfixturevalue(emulator)
            request.getfixturevalue("account")
            async with Aws(AwsSettings(region="eu-west-1", endpoint_url=endpoint_url)) as aws:
                yield await in_new_table(await aws.json_client("dynamodb"))


async def test_a_row_is_restored_with_the_counter_that_it_has(store: EditableStore) -> None:
    assert await store.create([STORED, Row(key=B, counter=2, owner=OWNER, token=1)]) == frozenset()
    assert await store.read([A, B]) == {A: STORED, B: Row(key=B, counter=2, owner=OWNER, token=1)}


async def test_a_row_that_exists_is_not_restored(store: EditableStore) -> None:
    await store.create([STORED])
    assert await store.create([replace(STORED, counter=20, token=3), Row(key=B, counter=2)]) == {A}
    assert await store.read([A, B]) == {A: STORED, B: Row(key=B, counter=2)}


@pytest.mark.parametrize(
    "checkpoint",
    [None, Checkpoint(TrimHorizon()), Checkpoint(AfterSequence(SequenceNumber("4"))), Checkpoint(ShardEnd()), AFTER_5],
)
async def test_a_checkpoint_moves_back_or_forth_or_goes(store: EditableStore, checkpoint: Checkpoint | None) -> None:
    await store.create([STORED])
    new = replace(STORED, counter=10, owner=OWNER, checkpoint=checkpoint, details={"parents": []})
    assert await store.overwrite([new]) == frozenset()
    assert await store.scan() == [new]


async def test_a_row_with_another_counter_is_not_overwritten(store: EditableStore) -> None:
    await store.create([STORED, Row(key=B)])
    for counter in (1, 8, 9, 11, 12):
        assert await store.overwrite([replace(STORED, counter=counter, checkpoint=None)]) == {A}
    new = [replace(STORED, counter=11, checkpoint=None), Row(key=B, counter=2, owner=OWNER), Row(key=C, counter=2)]
    assert await store.overwrite(new) == {A, C}
    assert await store.read([A, B, C]) == {A: STORED, B: Row(key=B, counter=2, owner=OWNER)}


async def test_the_next_update_of_a_worker_must_not_move_the_checkpoint_back(store: EditableStore) -> None:
    await store.create([STORED])
    new = replace(STORED, counter=10, checkpoint=Checkpoint(AfterSequence(SequenceNumber("3"))))
    await store.overwrite([new])
    with pytest.raises(AssertionError, match="move back"):
        await store.update([replace(new, counter=11, checkpoint=Checkpoint(TrimHorizon()))])
    assert await store.update([replace(new, counter=11, checkpoint=AFTER_5)]) == frozenset()


async def test_latest_is_no_checkpoint_of_a_person_either(store: EditableStore) -> None:
    await store.create([STORED])
    with pytest.raises(AssertionError, match="LATEST"):
        await store.overwrite([replace(STORED, counter=10, checkpoint=Checkpoint(Latest()))])
    assert await store.scan() == [STORED]
