"""Does a mapping take over the table of a KCL application that has stopped, and no other table?"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import orjson
import pytest
from anyio.lowlevel import checkpoint

from poller.aws.clients import Aws, AwsSettings
from poller.composition.kcl import KclTables, take_over
from poller.errors import CannotStore, InUse, PollerError, SettingsError
from poller.facts import Fact, KclTableWatched
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Row, begun_key, kcl_key, shard_key
from poller.model.mapping import StreamMapping
from poller.model.stream import AfterSequence, AtTimestamp, Checkpoint, SequenceNumber, ShardEnd, ShardId
from poller.ports import LeaseStore
from poller.stores import kcl_leases
from poller.stores.memory_leases import MemoryLeaseStore
from poller.stores.routed_leases import RoutedLeaseStore
from tests.fakes.clock import VirtualClock
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http, use_own_credentials

pytestmark = pytest.mark.anyio

NOW = 1_770_000_000.0
MAPPING = StreamMapping(
    name=MappingName("clicks"),
    event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
    function_name=FunctionName("f"),
    starting_position=AtTimestamp(12.5),
    kcl_table="my-application",
    region="eu-west-3",
    uuid="u",
)
NOTED = Row(key=kcl_key(MAPPING.state_key), details={"table": "my-application"})
A, B, C = (ShardId(f"shardId-00000000000{number}") for number in range(3))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_credentials(monkeypatch)


async def create(service: DynamoDbOverHttp, key: str = "leaseKey") -> None:
    request = {
        "TableName": "my-application",
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    await service.tables.call("CreateTable", orjson.dumps(request), timeout_in_seconds=1)


def refuse(error: PollerError) -> None:
    raise AssertionError(f"the table must not fail: {error}")


def put(service: DynamoDbOverHttp, shard_id: ShardId, checkpoint: str, **more: Any) -> None:
    """Store a lease as KCL does."""
    item = {
        "leaseKey": {"S": shard_id},
        "leaseCounter": {"N": "5"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "checkpoint": {"S": checkpoint},
        "checkpointSubSequenceNumber": {"N": "0"},
        **more,
    }
    table = service.tables.table("my-application")
    table.items[table.key_of(item)] = item


@asynccontextmanager
async def taken_over(service: DynamoDbOverHttp, state: LeaseStore) -> AsyncIterator[LeaseStore]:
    async with Aws(AwsSettings(endpoint_url=service.url)) as aws:
        yield await take_over(MAPPING, state, aws, now=NOW, randomness=random.Random(0), watches=print)


async def test_a_table_of_kcl_is_read_in_the_region_of_the_mapping_which_counts_as_begun() -> None:
    state = MemoryLeaseStore()
    async with dynamodb_over_http() as service:
        await create(service)
        put(service, A, "SHARD_END")
        put(service, B, "495")
        put(service, C, "AT_TIMESTAMP")
        async with taken_over(service, state) as store:
            checkpoints = {row.key: row.checkpoint for row in await store.scan()}
        assert service.clients() == {"AKIDOWN in eu-west-3"}
    assert checkpoints == {
        shard_key(MAPPING.state_key, A): Checkpoint(ShardEnd()),
        shard_key(MAPPING.state_key, B): Checkpoint(AfterSequence(SequenceNumber("495"))),
        shard_key(MAPPING.state_key, C): Checkpoint(AtTimestamp(12.5)),
    }
    assert await state.scan() == [NOTED, Row(key=begun_key(MAPPING.state_key))]


async def test_a_mapping_with_an_empty_table_has_not_begun() -> None:
    state = MemoryLeaseStore()
    async with dynamodb_over_http() as service:
        await create(service)
        async with taken_over(service, state) as store:
            assert await store.scan() == []
    assert await state.scan() == [NOTED]


COPY = "copy them with `poller state copy daemon.state --mapping clicks`"
CHOOSE = "or, to use those in the table my-application, run `poller state copy kcl://my-application --mapping clicks`"


@pytest.mark.parametrize(("leases", "commands"), [([], COPY), ([A], f"{COPY}; {CHOOSE}")])
async def test_a_mapping_that_has_begun_in_the_state_waits_until_its_table_has_the_positions(
    leases: list[ShardId], commands: str
) -> None:
    state = MemoryLeaseStore()
    begun = Row(key=begun_key(MAPPING.state_key))
    await state.create([begun])
    async with dynamodb_over_http() as service:
        await create(service)
        for shard_id in leases:
            put(service, shard_id, "495", leaseOwner={"S": "ip-10-0-0-1"})
        with pytest.raises(SettingsError) as refused:
            async with taken_over(service, state):
                raise AssertionError("the table must not be used")
        assert str(refused.value) == f"mappings.clicks.kcl_table: daemon.state has positions of clicks: {commands}"
        assert await state.scan() == [begun]
        await state.create([NOTED])
        put(service, A, "495")
        async with taken_over(service, state) as store:
            assert len(await store.scan()) == 1


async def test_a_mapping_whose_positions_are_in_another_table_waits_if_its_table_has_no_leases() -> None:
    state = MemoryLeaseStore()
    noted = replace(NOTED, details={"table": "earlier"})
    await state.create([noted, Row(key=begun_key(MAPPING.state_key))])
    async with dynamodb_over_http() as service:
        await create(service)
        with pytest.raises(
            SettingsError, match="has no leases, and the table earlier has the positions of clicks: set"
        ):
            async with taken_over(service, state):
                raise AssertionError("the table must not be used")
        assert noted in await state.scan()
        put(service, A, "495")
        async with taken_over(service, state) as store:
            assert len(await store.scan()) == 1


async def test_a_mapping_whose_table_has_lost_its_leases_begins_each_shard_at_its_oldest_record() -> None:
    state = MemoryLeaseStore()
    rows = [Row(key=begun_key(MAPPING.state_key)), NOTED]
    await state.create(rows)
    async with dynamodb_over_http() as service:
        await create(service)
        async with taken_over(service, state) as store:
            assert await store.scan() == []
    assert await state.scan() == rows


async def test_the_state_notes_which_table_has_the_positions() -> None:
    state = MemoryLeaseStore()
    await state.create([replace(NOTED, details={"table": "earlier"})])
    async with dynamodb_over_http() as service:
        await create(service)
        for _ in range(2):
            async with taken_over(service, state):
                assert await state.scan() == [replace(NOTED, counter=2)]


async def test_a_table_that_does_not_exist_or_has_another_key_is_a_fault_and_is_not_created() -> None:
    async with dynamodb_over_http() as service:
        for fault in (
            "there is no table my-application",
            r"the table my-application cannot be used: the table's key is id \(S\)",
        ):
            with pytest.raises(SettingsError, match=rf"mappings\.clicks\.kcl_table: {fault}"):
                async with taken_over(service, MemoryLeaseStore()):
                    raise AssertionError("the table must not be used")
            if not service.tables.tables:
                await create(service, "id")


async def test_a_table_that_cannot_be_read_now_may_be_usable_later() -> None:
    async with dynamodb_over_http() as service:
        await create(service)
        service.tables.forbidden = {"Scan"}
        with pytest.raises(CannotStore, match=r"mappings\.clicks\.kcl_table: .*cannot be used now.*dynamodb:Scan"):
            async with taken_over(service, MemoryLeaseStore()):
                raise AssertionError("the table must not be used")


@pytest.mark.parametrize("runs", [True, False])
async def test_a_table_that_a_running_kcl_application_uses_is_refused(
    runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcl_leases, "LOOK_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(kcl_leases, "WATCHED_IN_SECONDS", 0.1)  # the facts and the reason say 60
    state, facts, reasons = MemoryLeaseStore(), list[Fact](), list[str]()
    store = RoutedLeaseStore(state)
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service)
        put(service, A, "495", leaseOwner={"S": "ip-10-0-0-1"})

        async def renew() -> None:
            while "Scan" not in [operation for operation, _ in service.tables.calls]:
                await checkpoint()
            put(service, A, "495", leaseOwner={"S": "ip-10-0-0-1"}, leaseCounter={"N": "6"})

        async def open_clients() -> Aws:
            await checkpoint()
            return aws

        tables = KclTables(store, open_clients, VirtualClock(), random.Random(0), facts.append)
        async with anyio.create_task_group() as tasks:
            if runs:
                tasks.start_soon(renew)
                with pytest.raises(InUse, match=r"mappings\.clicks\.kcl_table: a KCL application still renews 1"):
                    await tables.use(MAPPING, failed=refuse, waits=reasons.append)
                assert await state.scan() == []
            else:
                await tables.use(MAPPING, failed=refuse, waits=reasons.append)
                assert shard_key(MAPPING.state_key, A) in {row.key for row in await store.scan()}
        assert facts == [KclTableWatched(MAPPING.name, "my-application", 1, 60.0)]
        assert reasons == [
            "a KCL application owns 1 of the leases in the table my-application, and may run; "
            "the mapping begins if none of them is renewed for 60 s"
        ]


async def test_a_mapping_never_uses_another_table_before_a_restart() -> None:
    state = MemoryLeaseStore()
    store = RoutedLeaseStore(state)
    async with dynamodb_over_http() as service, AsyncExitStack() as stack:
        await create(service)
        put(service, A, "495")
        opened: list[Aws] = []

        async def open_clients() -> Aws:
            opened.append(await stack.enter_async_context(Aws(AwsSettings(endpoint_url=service.url))))
            return opened[-1]

        tables = KclTables(store, open_clients, VirtualClock(), random.Random(0), print)
        await tables.use(replace(MAPPING, name=MappingName("other"), kcl_table=None), failed=refuse)
        assert opened == []
        for _ in range(2):
            await tables.use(MAPPING, failed=refuse)
        assert len(opened) == 1
        [row] = [row for row in await store.scan() if row.checkpoint is not None]
        assert row.key == shard_key(MAPPING.state_key, A)
        assert [row.key for row in await state.scan()] == [NOTED.key, begun_key(MAPPING.state_key)]
        for changed in (
            replace(MAPPING, kcl_table="another"),
            replace(MAPPING, kcl_table=None),
            replace(MAPPING, name=MappingName("other")),
        ):
            with pytest.raises(AssertionError, match=r"kcl_table has changed: a reload refuses this"):
                await tables.use(changed, failed=refuse)


async def test_the_time_that_stands_for_latest_stays_the_same_when_a_mapping_begins_again() -> None:
    store, clock = RoutedLeaseStore(MemoryLeaseStore()), VirtualClock()
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service)
        put(service, A, "LATEST")

        async def open_clients() -> Aws:
            await checkpoint()
            return aws

        tables = KclTables(store, open_clients, clock, random.Random(0), print)
        await tables.use(MAPPING, failed=refuse)
        before = await store.scan()
        clock.ahead = 1000.0
        await tables.use(MAPPING, failed=refuse)
        assert await store.scan() == before


async def test_a_mapping_that_reads_another_stream_finds_its_shards_in_its_table_too() -> None:
    """Otherwise its positions would come into the state, and the next start would not find them."""
    state = MemoryLeaseStore()
    store = RoutedLeaseStore(state)
    other = replace(MAPPING, event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/views"))
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service)

        async def open_clients() -> Aws:
            await checkpoint()
            return aws

        tables = KclTables(store, open_clients, VirtualClock(), random.Random(0), print)
        for mapping in (MAPPING, other):
            await tables.use(mapping, failed=refuse)
        key = shard_key(other.state_key, A)
        assert not await store.create([Row(key=key, checkpoint=Checkpoint(ShardEnd()))])
        assert key not in {row.key for row in await state.scan()}
        assert len(service.tables.table("my-application").items) == 1


async def test_a_table_that_was_refused_may_be_replaced_by_another_one() -> None:
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service)

        async def open_clients() -> Aws:
            await checkpoint()
            return aws

        tables = KclTables(RoutedLeaseStore(MemoryLeaseStore()), open_clients, VirtualClock(), random.Random(0), print)
        with pytest.raises(SettingsError, match="there is no table misspelled"):
            await tables.use(replace(MAPPING, kcl_table="misspelled"), failed=refuse)
        await tables.use(MAPPING, failed=refuse)


async def test_a_table_that_fails_stops_the_run_of_its_mapping_until_the_next_run_can_use_it() -> None:
    state, failures = MemoryLeaseStore(), list[PollerError]()
    store = RoutedLeaseStore(state)
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service)
        put(service, A, "495")

        async def open_clients() -> Aws:
            await checkpoint()
            return aws

        tables = KclTables(store, open_clients, VirtualClock(), random.Random(0), print)
        service.tables.forbidden = {"Scan"}
        why = "mappings.clicks.kcl_table: the table my-application cannot be used now: "
        with pytest.raises(CannotStore, match=why):
            await tables.use(MAPPING, failed=failures.append)
        service.tables.forbidden = set()
        await tables.use(MAPPING, failed=failures.append)
        of_table, of_state = shard_key(MAPPING.state_key, A), {NOTED.key, begun_key(MAPPING.state_key)}
        assert {row.key for row in await store.scan()} == {of_table, *of_state}
        service.tables.forbidden = {"Scan"}
        assert {row.key for row in await store.scan()} == of_state
        assert str(failures.pop()).startswith(why)
        with pytest.raises(CannotStore, match=why):
            await tables.use(MAPPING, failed=failures.append)
        service.tables.forbidden = set()
        assert {row.key for row in await store.scan()} == of_state, "no run has begun since"
        await tables.use(MAPPING, failed=failures.append)
        assert {row.key for row in await store.scan()} == {of_table, *of_state}
        assert failures == []
