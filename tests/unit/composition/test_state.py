"""Where is the state opened, and which fault does each unusable state give?"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import orjson
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.composition.state import OpenState, open_by_hand, open_state, rows_of_table
from poller.errors import CannotStore, InUse, ServiceError, SettingsError
from poller.facts import Fact, StateOpened
from poller.model.ids import MappingName
from poller.model.lease import Pause, Row, RowKey
from poller.model.stream import AtTimestamp, Checkpoint, ShardId, StateKey, TrimHorizon
from poller.stores.lease_file import shared
from tests.fakes.dynamodb_over_http import dynamodb_over_http, use_own_credentials

pytestmark = pytest.mark.anyio

ROLE = "arn:aws:iam::123456789012:role/leases"
SHARD = RowKey("clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shardId-000000000000")
FORMAT_3 = Path(__file__).parents[1] / "stores/format_3.sql"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_credentials(monkeypatch)


@asynccontextmanager
async def opened(state: str, aws: AwsSettings | None = None) -> AsyncIterator[tuple[OpenState, list[Fact]]]:
    facts: list[Fact] = []
    aws = aws or AwsSettings()
    async with open_state(state, aws, open_aws=Aws, randomness=random.Random(0), emit=facts.append) as state_:
        yield state_, facts


async def test_the_state_in_memory_ends_with_the_daemon_and_is_not_reported() -> None:
    async with opened("memory:") as (state, facts):
        await state.leases.create([Row(key=SHARD, checkpoint=Checkpoint(TrimHorizon()))])
    assert facts == []
    async with opened("memory:") as (state, _):
        assert await state.leases.scan() == []


async def test_leases_and_pauses_are_in_the_same_file_and_its_positions_are_counted(tmp_path: Path) -> None:
    address = f"sqlite://{tmp_path / 'poller.db'}"
    async with opened(address) as (state, facts):
        await state.leases.create([Row(key=SHARD, checkpoint=Checkpoint(TrimHorizon()))])
        await state.pauses.pause(MappingName("clicks"), at=0.0)
        assert facts == [StateOpened(state=address, positions=0)]
    async with opened(address) as (state, facts):
        assert {row.key for row in await state.leases.scan()} == {SHARD, ":pause/clicks"}
        assert facts == [StateOpened(state=address, positions=1)]


async def test_the_copy_of_a_migrated_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "poller.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(FORMAT_3.read_text())
    async with opened(f"sqlite://{path}") as (_, facts):
        (fact,) = facts
        assert isinstance(fact, StateOpened)
        assert fact.positions > 0
        assert fact.kept_copy == f"{path}.format-3"


async def test_a_file_that_a_person_changes_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.stores.ownership.PATIENCE_IN_SECONDS", 0.0)
    with shared(tmp_path / "poller.db", stays_alone=True), pytest.raises(InUse):
        async with opened(f"sqlite://{tmp_path / 'poller.db'}"):
            raise AssertionError("the file must not be opened")


async def test_a_table_is_created_once_and_reached_at_the_endpoint_in_the_region_and_with_the_role_of_its_address() -> (
    None
):
    async with dynamodb_over_http() as service:
        address = f"dynamodb://leases?region=eu-west-3&endpoint_url={service.url}&role_arn={ROLE}"
        aws = AwsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:9", endpoints={"sts": service.url})
        async with opened(address, aws) as (state, _):
            await state.leases.create([Row(key=SHARD, checkpoint=Checkpoint(TrimHorizon()))])
            await state.pauses.pause(MappingName("clicks"), at=0.0)
        async with opened(address, aws) as (state, facts):
            assert await state.pauses.load() == {"clicks": Pause(0.0)}
            assert facts == [StateOpened(state=address, positions=1)]
        assert [operation for operation, _ in service.tables.calls].count("CreateTable") == 1
        assert service.clients() == {"ASIAROLE in eu-west-3"}


async def test_a_table_whose_address_is_only_its_name_is_reached_like_all_other_services() -> None:
    async with dynamodb_over_http() as service:
        async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=service.url)):
            pass
        assert service.tables.tables.keys() == {"leases"}
        assert service.clients() == {"AKIDOWN in eu-west-1"}


async def test_a_table_that_may_not_be_created_is_a_fault_of_the_settings() -> None:
    async with dynamodb_over_http() as service:
        service.tables.forbidden = {"CreateTable"}
        with pytest.raises(SettingsError, match=r"daemon\.state: there is no such table.*dynamodb:CreateTable"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=service.url)):
                raise AssertionError("the table must not be opened")


async def test_a_table_with_the_rows_of_another_program_is_a_fault_of_the_settings() -> None:
    async with dynamodb_over_http() as service:
        settings = AwsSettings(region="eu-west-1", endpoint_url=service.url)
        async with opened("dynamodb://leases", settings):
            pass
        service.tables.tables["leases"].items["a"] = {"leaseKey": {"S": "shardId-000000000000"}}
        with pytest.raises(SettingsError, match=r"daemon\.state: the table leases .*not written by poller"):
            async with opened("dynamodb://leases", settings):
                raise AssertionError("the table must not be opened")


async def test_a_table_that_cannot_be_read_now_may_be_usable_later() -> None:
    async with dynamodb_over_http() as service:
        service.tables.forbidden = {"Scan"}
        with pytest.raises(CannotStore, match=r"daemon\.state: the table leases cannot be used now: .*dynamodb:Scan"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=service.url)):
                raise AssertionError("the table must not be opened")


async def test_an_error_while_the_state_is_in_use_keeps_its_class() -> None:
    async with dynamodb_over_http() as service:
        with pytest.raises(ServiceError, match="of the user"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=service.url)):
                raise ServiceError("of the user", code="Mine")


def files_in(folder: Path) -> list[Path]:
    return [*folder.iterdir()]


async def test_a_person_finds_no_state_where_there_is_no_file_and_no_table_and_creates_none(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        aws = AwsSettings(region="eu-west-1", endpoint_url=service.url)
        for state in (f"sqlite://{tmp_path / 'poller.db'}", "dynamodb://leases"):
            async with open_by_hand(state, aws, tell=lambda _: None) as hand:
                assert hand is None
        assert await rows_of_table("dynamodb://leases", aws) is None
        assert not service.tables.tables
    assert files_in(tmp_path) == []


async def test_a_person_sees_and_changes_the_rows_that_the_daemon_has(tmp_path: Path) -> None:
    clicks = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
    row = Row(key=SHARD, checkpoint=Checkpoint(TrimHorizon()))
    async with dynamodb_over_http() as service:
        aws = AwsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:9")
        for state in (f"sqlite://{tmp_path / 'poller.db'}", f"dynamodb://leases?endpoint_url={service.url}"):
            async with opened(state, aws) as (daemon, _):
                await daemon.leases.create([row])
            async with open_by_hand(state, aws, tell=lambda _: None) as hand:
                assert hand is not None
                assert hand.rows == [row]
                await hand.move_shard(clicks, ShardId("shardId-000000000000"), AtTimestamp(12.5))
            async with opened(state, aws) as (daemon, _):
                [moved] = await daemon.leases.scan()
                assert moved.checkpoint == Checkpoint(AtTimestamp(12.5))
        assert await rows_of_table(f"dynamodb://leases?endpoint_url={service.url}", aws) == [moved]


async def test_a_table_that_a_person_cannot_read_gives_the_error_that_a_daemon_gets() -> None:
    async with dynamodb_over_http() as service:
        aws = AwsSettings(region="eu-west-1", endpoint_url=service.url)
        async with opened("dynamodb://leases", aws):
            service.tables.forbidden = {"Scan"}
        with pytest.raises(CannotStore, match=r"daemon\.state: the table leases cannot be used now: .*dynamodb:Scan"):
            await rows_of_table("dynamodb://leases", aws)


async def test_a_table_of_something_else_is_a_fault_of_the_settings_for_a_person_too() -> None:
    """An empty one would look like a state without positions, until a write fails with an error of DynamoDB."""
    async with dynamodb_over_http() as service:
        request = {
            "TableName": "users",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        await service.tables.call("CreateTable", orjson.dumps(request), timeout_in_seconds=1)
        aws = AwsSettings(region="eu-west-1", endpoint_url=service.url)
        with pytest.raises(SettingsError, match=r"daemon\.state: the table's key is id \(S\); it must be leaseKey"):
            await rows_of_table("dynamodb://users", aws)
        with pytest.raises(SettingsError, match=r"daemon\.state: the table's key is id"):
            async with open_by_hand("dynamodb://users", aws, tell=lambda _: None):
                raise AssertionError("the table must not be used")
