"""What must every store of pauses do? See ports.PauseStore."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poller.model.ids import MappingName
from poller.model.lease import Detail, Pause, Row, RowKey, pause_key
from poller.ports import PauseStore
from poller.stores.lease_pauses import LeasePauses
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.pauses import FakePauses

pytestmark = pytest.mark.anyio

CLICKS, USERS = MappingName("clicks"), MappingName("users")


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncIterator[PauseStore]:
    match kind:
        case "fake":
            yield FakePauses()
        case "memory":
            leases_in_memory = MemoryLeaseStore()
            await leases_in_memory.create([Row(key=RowKey("clicks/stream/shard"))])
            yield LeasePauses(leases_in_memory)
        case _:
            async with SqliteLeaseStore(folder / "poller.db") as leases:
                yield LeasePauses(leases)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["fake", "memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[PauseStore]:
    async with opened(request.param, tmp_path) as store:
        yield store


async def test_no_mapping_is_paused_at_first(store: PauseStore) -> None:
    assert await store.load() == {}
    assert await store.read(CLICKS) is None


async def test_a_mapping_is_paused_until_it_is_resumed_and_the_others_stay_as_they_are(store: PauseStore) -> None:
    await store.pause(CLICKS, at=1.5)
    await store.pause(USERS, at=2.5)
    assert await store.load() == {CLICKS: Pause(1.5), USERS: Pause(2.5)}
    await store.resume(CLICKS)
    assert await store.load() == {USERS: Pause(2.5)}
    assert await store.read(CLICKS) is None
    assert await store.read(USERS) == Pause(2.5)


async def test_a_second_pause_or_resume_changes_nothing(store: PauseStore) -> None:
    for at in (1.5, 9.5):
        assert await store.pause(CLICKS, at=at) == Pause(1.5)
    assert await store.load() == {CLICKS: Pause(1.5)}
    for _ in range(2):
        await store.resume(CLICKS)
    assert await store.load() == {}


async def test_a_pause_survives_a_restart_if_the_state_is_a_file(tmp_path: Path, anyio_backend: str) -> None:
    async with opened("sqlite", tmp_path) as store:
        await store.pause(CLICKS, at=1.5)
    async with opened("sqlite", tmp_path) as store:
        assert await store.load() == {CLICKS: Pause(1.5)}
        await store.resume(CLICKS)
    async with opened("sqlite", tmp_path) as store:
        assert await store.load() == {}


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("since", ["x", [], None, -1, 1e308])
async def test_a_pause_has_no_time_if_its_row_tells_none_that_can_be_shown(since: Detail) -> None:
    leases = MemoryLeaseStore()
    await leases.create([Row(key=pause_key(CLICKS), details={"since": since})])
    assert await LeasePauses(leases).load() == {CLICKS: Pause(None)}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"], indirect=True)
async def test_a_pause_that_an_older_version_has_stored_has_no_time() -> None:
    leases = MemoryLeaseStore()
    await leases.create([Row(key=pause_key(CLICKS))])
    store = LeasePauses(leases)
    assert await store.load() == {CLICKS: Pause(None)}
    assert await store.pause(CLICKS, at=9.5) == await store.read(CLICKS) == Pause(None)
