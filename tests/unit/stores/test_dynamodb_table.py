from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import AccessDenied, Rejected, SettingsError, Unreachable
from poller.stores.dynamodb_table import made_ready
from tests.fakes.dynamodb import FakeDynamoDb
from tests.fakes.faults import Fault

pytestmark = pytest.mark.anyio

OPTION = 'daemon.state = "dynamodb://leases"'


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def refused(service: FakeDynamoDb) -> str:
    with pytest.raises(SettingsError) as caught:
        await made_ready(service, "leases", option=OPTION)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{OPTION}: ")
    return fault.removeprefix(f"{OPTION}: ")


def asked(service: FakeDynamoDb) -> list[str]:
    return [operation for operation, _ in service.calls]


async def test_a_table_is_created_with_our_key_and_billed_by_request() -> None:
    service = FakeDynamoDb()
    await made_ready(service, "leases", option=OPTION)
    assert service.calls[-1] == (
        "CreateTable",
        {
            "TableName": "leases",
            "KeySchema": [{"AttributeName": "leaseKey", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "leaseKey", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    )


async def test_a_table_that_exists_is_not_created_again() -> None:
    service = FakeDynamoDb()
    for _ in range(2):
        await made_ready(service, "leases", option=OPTION)
    assert asked(service) == ["DescribeTable", "CreateTable", "DescribeTable"]


async def test_a_table_is_ready_once_it_is_active() -> None:
    service = FakeDynamoDb(creation_in_seconds=7.5)
    began_at = anyio.current_time()
    await made_ready(service, "leases", option=OPTION)
    assert 7.5 <= anyio.current_time() - began_at <= 9


async def test_two_workers_may_create_the_table_at_the_same_time() -> None:
    service = FakeDynamoDb(creation_in_seconds=5)
    service.faults.latency_in_seconds = (0.1, 0.1)
    async with anyio.create_task_group() as workers:
        for _ in range(2):
            workers.start_soon(lambda: made_ready(service, "leases", option=OPTION))
    assert asked(service).count("CreateTable") == 2
    assert service.tables["leases"].description["TableStatus"] == "ACTIVE"


async def test_a_table_that_never_becomes_active_is_an_error() -> None:
    with pytest.raises(Unreachable, match="the table leases does not become active"):
        await made_ready(FakeDynamoDb(creation_in_seconds=1_000_000), "leases", option=OPTION)


async def test_the_error_says_what_to_do_if_the_table_is_missing_and_may_not_be_created() -> None:
    service = FakeDynamoDb()
    service.forbidden.add("CreateTable")
    assert await refused(service) == (
        "there is no such table, and the daemon's identity may not create it: allow dynamodb:CreateTable, or create a "
        "table whose partition key is leaseKey, a string, without a sort key"
    )


async def test_a_table_that_may_not_be_described_is_an_error_of_the_service() -> None:
    service = FakeDynamoDb()
    service.forbidden.add("DescribeTable")
    with pytest.raises(AccessDenied, match="dynamodb:DescribeTable"):
        await made_ready(service, "leases", option=OPTION)


async def test_a_table_that_cannot_be_created_is_an_error_of_the_service() -> None:
    with pytest.raises(Rejected, match="Invalid table"):
        await made_ready(FakeDynamoDb(), "two words", option=OPTION)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([("id", "S", "HASH")], "id (S)"),
        ([("leaseKey", "N", "HASH")], "leaseKey (N)"),
        ([("leaseKey", "S", "HASH"), ("at", "N", "RANGE")], "leaseKey (S) and at (N)"),
    ],
)
async def test_a_table_with_another_key_is_refused(keys: list[tuple[str, str, str]], found: str) -> None:
    service = FakeDynamoDb()
    request = {
        "TableName": "leases",
        "KeySchema": [{"AttributeName": name, "KeyType": role} for name, _, role in keys],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind, _ in keys],
        "BillingMode": "PAY_PER_REQUEST",
    }
    service._CreateTable(request)
    assert await refused(service) == (
        f"the table's key is {found}; it must be leaseKey (S) alone, so another program uses this table"
    )


async def test_a_table_may_have_an_index_over_other_attributes() -> None:
    service = FakeDynamoDb()
    await made_ready(service, "leases", option=OPTION)
    service.tables["leases"].description["AttributeDefinitions"].append(
        {"AttributeName": "leaseOwner", "AttributeType": "S"}
    )
    await made_ready(service, "leases", option=OPTION)


async def test_a_lost_answer_is_an_error_and_a_later_try_finds_the_table() -> None:
    service = FakeDynamoDb()
    service.faults.script("CreateTable", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable):
        await made_ready(service, "leases", option=OPTION)
    await made_ready(service, "leases", option=OPTION)
