"""Where is the state opened, and which fault does each unusable state give?"""

from __future__ import annotations

import datetime
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import orjson
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.aws.signing import Credentials
from poller.errors import CannotStore, InUse, ServiceError, SettingsError
from poller.facts import Fact, StateOpened
from poller.model.ids import MappingName
from poller.model.lease import Row, RowKey
from poller.model.stream import Checkpoint, TrimHorizon
from poller.state_composition import OpenState, open_state
from poller.stores.ownership import locked
from tests.fakes.aws_over_http import LONGEST_CALL_IN_SECONDS, refused
from tests.fakes.aws_service import AwsService
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.http_server import Drop, HttpServer, Reply, Request, http_server

pytestmark = pytest.mark.anyio

OWN = Credentials("AKIDOWN", "own-secret", None)
OF_THE_ROLE = Credentials("ASIAROLE", "role-secret", "role-token")
ROLE = "arn:aws:iam::123456789012:role/leases"
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>
<Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
SHARD = RowKey("clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shardId-000000000000")
FORMAT_3 = Path(__file__).parent / "stores/format_3.sql"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWN.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWN.secret_access_key)


class Service:
    """DynamoDB and STS at one address."""

    def __init__(self) -> None:
        self.tables = FakeDynamoDb()
        self.checked = AwsService(self._reply)
        self.checked.knows(OWN, OF_THE_ROLE)

    async def _reply(self, request: Request) -> Reply | Drop:
        service, _, operation = request.headers.get("x-amz-target", "").partition(".")
        if service == "DynamoDB_20120810":
            try:
                answer = await self.tables.call(operation, request.body, timeout_in_seconds=LONGEST_CALL_IN_SECONDS)
            except ServiceError as error:
                return refused(error)
            return Reply(body=orjson.dumps(answer))
        assert b"AssumeRole" in request.body
        expiration = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        return Reply(body=ASSUMED.format(*OF_THE_ROLE, expiration.strftime("%Y-%m-%dT%H:%M:%SZ")).encode())

    def credentials(self) -> set[str]:
        """Return the scope of the credentials of each request to DynamoDB: the key, the day, the region."""
        signatures = [r.headers["authorization"] for r in self.checked.accepted if "x-amz-target" in r.headers]
        scopes = [each.partition("Credential=")[2].split("/") for each in signatures]
        return {f"{key} in {region}" for key, _, region, *_ in scopes}


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Service, HttpServer]]:
    service = Service()
    async with http_server(service.checked) as server:
        yield service, server


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
        await state.pauses.pause(MappingName("clicks"))
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


async def test_a_file_of_a_daemon_that_knows_no_leases_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.stores.ownership.PATIENCE_IN_SECONDS", 0.0)
    with locked(tmp_path / "poller.db"), pytest.raises(InUse):
        async with opened(f"sqlite://{tmp_path / 'poller.db'}"):
            raise AssertionError("the file must not be opened")


async def test_a_table_is_created_once_and_reached_at_the_endpoint_in_the_region_and_with_the_role_of_its_address() -> (
    None
):
    async with served() as (service, server):
        address = f"dynamodb://leases?region=eu-west-3&endpoint_url={server.url}&role_arn={ROLE}"
        aws = AwsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:9", endpoints={"sts": server.url})
        async with opened(address, aws) as (state, _):
            await state.leases.create([Row(key=SHARD, checkpoint=Checkpoint(TrimHorizon()))])
            await state.pauses.pause(MappingName("clicks"))
        async with opened(address, aws) as (state, facts):
            assert await state.pauses.load() == {"clicks"}
            assert facts == [StateOpened(state=address, positions=1)]
        assert [operation for operation, _ in service.tables.calls].count("CreateTable") == 1
        assert service.credentials() == {"ASIAROLE in eu-west-3"}


async def test_a_table_whose_address_is_only_its_name_is_reached_like_all_other_services() -> None:
    async with served() as (service, server):
        async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=server.url)):
            pass
        assert service.tables.tables.keys() == {"leases"}
        assert service.credentials() == {"AKIDOWN in eu-west-1"}


async def test_a_table_that_may_not_be_created_is_a_fault_of_the_settings() -> None:
    async with served() as (service, server):
        service.tables.forbidden = {"CreateTable"}
        with pytest.raises(SettingsError, match=r"daemon\.state: there is no such table.*dynamodb:CreateTable"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=server.url)):
                raise AssertionError("the table must not be opened")


async def test_a_table_with_the_rows_of_another_program_is_a_fault_of_the_settings() -> None:
    async with served() as (service, server):
        settings = AwsSettings(region="eu-west-1", endpoint_url=server.url)
        async with opened("dynamodb://leases", settings):
            pass
        service.tables.tables["leases"].items["a"] = {"leaseKey": {"S": "shardId-000000000000"}}
        with pytest.raises(SettingsError, match=r"daemon\.state: the table leases .*not written by poller"):
            async with opened("dynamodb://leases", settings):
                raise AssertionError("the table must not be opened")


async def test_a_table_that_cannot_be_read_now_may_be_usable_later() -> None:
    async with served() as (service, server):
        service.tables.forbidden = {"Scan"}
        with pytest.raises(CannotStore, match=r"daemon\.state: the table leases cannot be used now: .*dynamodb:Scan"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=server.url)):
                raise AssertionError("the table must not be opened")


async def test_an_error_while_the_state_is_in_use_keeps_its_class() -> None:
    async with served() as (_, server):
        with pytest.raises(ServiceError, match="of the user"):
            async with opened("dynamodb://leases", AwsSettings(region="eu-west-1", endpoint_url=server.url)):
                raise ServiceError("of the user", code="Mine")
