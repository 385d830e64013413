"""What does `poller check --live` find out about the table of the state?"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import anyio.to_thread
import orjson
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.core.finding import Finding
from poller.live_checks.destinations import NOT_CHECKED, destination
from poller.live_checks.making import rows_of
from poller.live_checks.rows import Row
from poller.model.arn import Arn
from poller.settings.loading import load
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http, use_own_credentials

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_credentials(monkeypatch)


async def finding(folder: Path, service: DynamoDbOverHttp) -> tuple[str, bool]:
    """Return the text of the only row, and whether it is a fault."""
    file = folder / "poller.toml"
    file.write_text(f'[daemon]\nregion = "eu-west-1"\nstate = "dynamodb://leases?endpoint_url={service.url}"\n')
    [row] = await anyio.to_thread.run_sync(partial(rows_of, load(file, {})))
    assert (row.option, row.resource, row.check) == ("daemon.state", "leases", "DescribeTable")
    return row.finding.text, row.finding.is_fault


async def create(service: DynamoDbOverHttp, key: str) -> None:
    request = {
        "TableName": "leases",
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    await service.tables.call("CreateTable", orjson.dumps(request), timeout_in_seconds=1)


async def test_a_table_that_does_not_exist_is_no_fault_and_is_not_created(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        assert await finding(tmp_path, service) == (
            "does not exist; the daemon creates it at its start, if it may",
            False,
        )
        assert not service.tables.tables


async def test_a_table_with_our_key_is_fine_and_one_with_another_key_is_a_fault(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        await create(service, "leaseKey")
        assert await finding(tmp_path, service) == ("exists, and its key fits", False)
        service.tables.tables.clear()
        await create(service, "id")
        text, is_fault = await finding(tmp_path, service)
        assert text.startswith("the table's key is id (S); it must be leaseKey (S) alone")
        assert is_fault


async def test_a_table_that_cannot_be_described_is_a_fault(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        service.tables.forbidden = {"DescribeTable"}
        text, is_fault = await finding(tmp_path, service)
        assert text == "cannot be read: AccessDeniedException (403): not authorized to perform: dynamodb:DescribeTable"
        assert is_fault


async def test_a_table_of_kcl_must_exist(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        file = tmp_path / "poller.toml"
        file.write_text(
            f"""
            [daemon]
            endpoint_url = "http://127.0.0.1:9"
            endpoints = {{ dynamodb = "{service.url}" }}
            [functions.f]
            url = "http://127.0.0.1:1"
            [mappings.clicks]
            event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
            function_name = "f"
            starting_position = "LATEST"
            kcl_table = "leases"
            """
        )
        check = partial(rows_of, load(file, {}))
        option, resource = "mappings.clicks.kcl_table", "leases"
        for finding in (Finding("does not exist", is_fault=True), Finding("exists, and its key fits")):
            rows = await anyio.to_thread.run_sync(check)
            assert Row(option, resource, "DescribeTable", finding) in rows
            if finding.is_fault:
                await create(service, "leaseKey")


async def test_a_destination_of_a_kind_without_a_check_is_an_advice() -> None:
    arn = Arn.parse("arn:aws:firehose:eu-west-1:123456789012:deliverystream/failures")
    async with Aws(AwsSettings()) as aws:
        [row] = await destination("option", arn, "eu-west-1", None, aws)
    assert row.finding is NOT_CHECKED
    assert row.finding.result == "advice"
