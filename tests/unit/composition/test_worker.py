"""When does the daemon open its state, and what is its worker called?"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from poller.composition.mappings import compose
from poller.composition.worker import Pauses, new_owner
from poller.errors import SettingsError
from poller.facts import Fact
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Pause
from poller.model.mapping import StreamMapping
from poller.model.move import MoveOrder
from poller.model.stream import Latest, ShardId
from poller.settings.values import TablesAt
from poller.stores.dynamodb_items import Item
from poller.stores.dynamodb_table import described, made_ready
from poller.stores.lease_pauses import LeasePauses
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.dynamodb_over_http import dynamodb_over_http, use_own_credentials
from tests.unit.composition.test_mappings import settings_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_pause_survives_in_the_state_file_and_without_a_pause_no_file_is_made(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ["a"])
    facts: list[Fact] = []
    state = Path(settings.daemon.state.removeprefix("sqlite://"))
    async with compose(settings, emit=facts.append, descriptor_limit=1024) as composition:
        assert await Pauses(composition.worker).load() == {}
        assert not await anyio.Path(state).exists()
        await Pauses(composition.worker).pause(MappingName("a"), at=0.0)
    async with compose(settings, emit=facts.append, descriptor_limit=1024) as composition:
        assert await Pauses(composition.worker).load() == {"a": Pause(0.0)}
        await Pauses(composition.worker).resume(MappingName("a"))
        assert await Pauses(composition.worker).load() == {}


async def test_a_state_file_whose_path_cannot_be_examined_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    """For example, the daemon's user may not enter the folder."""
    settings = settings_of(tmp_path, ["a"])
    settings = replace(settings, daemon=replace(settings.daemon, state=f"sqlite://{tmp_path}/{'x' * 300}"))
    async with compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition:
        with pytest.raises(SettingsError, match="cannot be read: File name too long"):
            await Pauses(composition.worker).load()


CLICKS = StreamMapping(
    name=MappingName("clicks"),
    event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    function_name=FunctionName("f"),
    starting_position=Latest(),
    region="eu-west-1",
    uuid="u",
)


@pytest.mark.parametrize("state", ["memory:", "sqlite://{folder}/poller.db"])
async def test_positions_move_in_any_state(tmp_path: Path, state: str) -> None:
    settings = settings_of(tmp_path, [])
    settings = replace(settings, daemon=replace(settings.daemon, state=state.format(folder=tmp_path)))
    order = MoveOrder("TRIM_HORIZON")
    async with compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition:
        await Pauses(composition.worker).pause(CLICKS.name, at=0.0)
        assert (await composition.move(CLICKS, order)).before == "nothing was stored"
        assert "TRIM_HORIZON" in str((await composition.positions(CLICKS)).set_by_hand)


async def test_positions_move_in_the_table_of_a_kcl_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    async with dynamodb_over_http() as service:
        await made_ready(service.tables, "click-readers", option="kcl_table")
        settings = settings_of(tmp_path, [])
        settings = replace(
            settings, daemon=replace(settings.daemon, state="memory:", tables_at=TablesAt(None, service.url, {}))
        )
        of_kcl = replace(CLICKS, kcl_table="click-readers")
        table = service.tables.table("click-readers")
        for shard_id, checkpoint in (("shardId-000000000000", "77"), ("shardId-000000000001", "SHARD_END")):
            lease: Item = {"leaseKey": {"S": shard_id}, "leaseCounter": {"N": "5"}, "checkpoint": {"S": checkpoint}}
            table.items[table.key_of(lease)] = lease
        async with compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition:
            await Pauses(composition.worker).pause(of_kcl.name, at=0.0)
            known = await composition.positions(of_kcl)
            assert [str(shard.position).partition(":")[0] for shard in known.shards] == ["after 77", "at the end"]
            await composition.move(of_kcl, MoveOrder("TRIM_HORIZON"))
            await composition.move(of_kcl, MoveOrder("90", shard_id=ShardId("shardId-000000000001"), is_after=True))
        stored = {item["leaseKey"]["S"]: item["checkpoint"]["S"] for item in table.items.values()}
        assert stored == {"shardId-000000000000": "TRIM_HORIZON", "shardId-000000000001": "90"}


async def test_a_missing_table_of_a_kcl_application_is_named_to_a_person_who_moves_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_own_credentials(monkeypatch)
    async with dynamodb_over_http() as service:
        settings = settings_of(tmp_path, [])
        settings = replace(
            settings, daemon=replace(settings.daemon, state="memory:", tables_at=TablesAt(None, service.url, {}))
        )
        async with compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition:
            with pytest.raises(SettingsError, match=r"mappings\.clicks\.kcl_table: there is no table gone"):
                await composition.positions(replace(CLICKS, kcl_table="gone"))


def test_the_owner_of_leases_has_the_label_of_the_worker_and_is_another_one_at_each_start() -> None:
    owners = [new_owner("blue", None), new_owner("blue", None), new_owner("blue", 2)]
    assert [owner.rpartition("/")[0] for owner in owners] == ["blue", "blue", "blue-2"]
    assert len(set(owners)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{32}", owner.rpartition("/")[2]) for owner in owners)


@pytest.fixture
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a daemon look for the state file all the time."""
    monkeypatch.setattr("poller.composition.worker.LEASE_DURATION_IN_SECONDS", 0.001)


async def test_a_table_of_the_state_is_where_it_was_when_the_daemon_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is a worker that is started again, after a reload with another endpoint."""
    use_own_credentials(monkeypatch)
    async with dynamodb_over_http() as before, dynamodb_over_http() as now:
        settings = settings_of(tmp_path, [])
        at_start = TablesAt("eu-west-1", before.url, {})
        daemon = replace(settings.daemon, state="dynamodb://leases", tables_at=at_start, endpoint_url=now.url)
        settings = replace(settings, daemon=daemon)
        async with compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition:
            await composition.worker.state()
            assert await composition.begun() == set()
        assert await described(before.tables, "leases") is not None
        assert await described(now.tables, "leases") is None


@pytest.mark.slow
@pytest.mark.usefixtures("_looks_often")
async def test_a_daemon_that_reads_queues_alone_sees_the_pause_that_another_daemon_of_the_host_stores(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, ["orders"])
    file, seen = tmp_path / "poller.db", anyio.Event()

    async def follow(paused: Collection[MappingName]) -> None:
        await anyio.lowlevel.checkpoint()
        if "orders" in paused:
            seen.set()

    async with (
        compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition,
        anyio.create_task_group() as services,
    ):
        services.start_soon(composition.worker.open_state_once_it_exists)
        services.start_soon(composition.worker.pauses_seen.run, follow)
        await anyio.wait_all_tasks_blocked()
        assert not await anyio.Path(file).exists()
        async with SqliteLeaseStore(file) as another:
            await LeasePauses(another).pause(MappingName("orders"), at=0.0)
            with anyio.fail_after(30):  # the worker's first scan may have come before the pause
                await seen.wait()
        services.cancel_scope.cancel()


@pytest.mark.usefixtures("_looks_often")
@pytest.mark.slow
async def test_a_state_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ["orders"])
    file = anyio.Path(tmp_path / "poller.db")
    await file.mkdir()
    async with (
        compose(settings, emit=lambda _: None, descriptor_limit=1024) as composition,
        anyio.create_task_group() as services,
    ):
        services.start_soon(composition.worker.open_state_once_it_exists)
        await anyio.wait_all_tasks_blocked()
        await file.rmdir()
        async with SqliteLeaseStore(Path(file)):
            with anyio.fail_after(30):
                while composition.worker._state is None:
                    await anyio.lowlevel.checkpoint()
