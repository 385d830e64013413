"""What does `poller check --live` find out about tables, the access to a queue, and the urls of functions?"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import orjson
import pytest

from poller.aws.clients import Aws, AwsSettings
from poller.composition.kcl_by_hand import rows_of_table as rows_in_kcl_table
from poller.composition.state import rows_of_table
from poller.core.finding import Finding
from poller.errors import AccessDenied, SettingsError
from poller.live_checks.destinations import NOT_CHECKED, destination
from poller.live_checks.making import rows_of
from poller.live_checks.queue_access import CANNOT_HIDE, queue_access
from poller.live_checks.rows import Row
from poller.live_checks.tables import kcl_table
from poller.live_checks.urls import THROUGH_A_PROXY, http_function
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Row as Lease
from poller.model.lease import RowKey, begun_key, kcl_key
from poller.model.mapping import StreamMapping
from poller.model.stream import StateKey, TrimHorizon
from poller.settings.loading import load
from poller.stores.dynamodb_items import Item
from poller.stores.dynamodb_rows import item_of
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.fakes.dynamodb_over_http import DynamoDbOverHttp, dynamodb_over_http, use_own_credentials
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _own_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    use_own_credentials(monkeypatch)


async def findings(folder: Path, service: DynamoDbOverHttp) -> dict[str, tuple[str, bool]]:
    """Return the text of each check of the table, and whether it is a fault."""
    file = folder / "poller.toml"
    file.write_text(f'[daemon]\nregion = "eu-west-1"\nstate = "dynamodb://leases?endpoint_url={service.url}"\n')
    rows = await anyio.to_thread.run_sync(partial(rows_of, load(file, {})))
    assert {(row.option, row.resource) for row in rows} == {("daemon.state", "leases")}
    return {row.check: (row.finding.text, row.finding.is_fault) for row in rows}


async def finding(folder: Path, service: DynamoDbOverHttp) -> tuple[str, bool]:
    """Return the text of the only check, and whether it is a fault."""
    [(check, found)] = (await findings(folder, service)).items()
    assert check == "DescribeTable"
    return found


def put(service: DynamoDbOverHttp, *items: Item) -> None:
    table = service.tables.table("leases")
    table.items |= {table.key_of(item): item for item in items}


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
        assert (await findings(tmp_path, service))["DescribeTable"] == ("exists, and its key fits", False)
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


async def test_a_table_whose_rows_are_not_all_of_poller_is_a_fault_as_in_a_run(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        await create(service, "leaseKey")
        put(service, item_of(Lease(key=RowKey(":pause/orders"))))
        found = await findings(tmp_path, service)
        assert found["Scan"] == ("has only rows of poller", False)
        damaged = Lease(
            key=RowKey(":start/clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
            details={"position": "NOWHERE"},
        )
        put(service, item_of(damaged))
        rule = f"has a damaged row {damaged.key}: 'NOWHERE' is not a starting position"
        assert (await findings(tmp_path, service))["Scan"] == (rule, True)
        put(service, {"leaseKey": {"S": "of-another-program"}, "leaseCounter": {"N": "1"}})
        found = await findings(tmp_path, service)
        why = "the item 'of-another-program' was not written by poller: fencingToken must be a whole number from 0 to"
        text, is_fault = found["Scan"]
        assert text.startswith(f"cannot be used: {why}")
        assert is_fault
        with pytest.raises(SettingsError, match=f"the table leases cannot be used: {why}"):
            await rows_of_table(f"dynamodb://leases?endpoint_url={service.url}", AwsSettings(region="eu-west-1"))
        service.tables.forbidden = {"Scan"}
        text, is_fault = (await findings(tmp_path, service))["Scan"]
        assert text == "cannot be read: AccessDeniedException (403): not authorized to perform: dynamodb:Scan"
        assert is_fault


CLICKS = StateKey(MappingName("clicks"), "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
LEASE: Item = {"leaseKey": {"S": "shardId-000000000000"}, "leaseCounter": {"N": "7"}, "checkpoint": {"S": "495"}}


@pytest.mark.slow
async def test_a_table_of_kcl_must_exist_and_have_rows_that_a_run_can_read(tmp_path: Path) -> None:
    async with dynamodb_over_http() as service:
        file = tmp_path / "poller.toml"
        file.write_text(
            f"""
            [daemon]
            state = "sqlite://poller.db"
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

        async def found() -> dict[str, Finding]:
            rows = await anyio.to_thread.run_sync(check)
            assert {row.resource for row in rows if row.option == "mappings.clicks.kcl_table"} == {"leases"}
            return {row.check: row.finding for row in rows if row.option == "mappings.clicks.kcl_table"}

        assert await found() == {"DescribeTable": Finding("does not exist", is_fault=True)}
        await create(service, "leaseKey")
        fits = Finding("exists, and its key fits")
        assert await found() == {"DescribeTable": fits, "Scan": Finding("has only rows of KCL")}
        put(service, LEASE, {"leaseKey": {"S": "ip-10-0-0-1"}, "entityType": {"S": "WORKER_METRICS"}})
        assert (await found())["Scan"] == Finding("has only rows of KCL")
        put(service, {**LEASE, "leaseOwner": {"S": "ip-10-0-0-1:7a0f"}})
        advice = (
            "has only rows of KCL; a KCL application owns leases in it, so stop the application: the mapping begins "
            "only if none of them is renewed for 60 s"
        )
        assert (await found())["Scan"] == Finding(advice, is_advice=True)
        async with SqliteLeaseStore(tmp_path / "poller.db") as state:
            await state.create([Lease(key=begun_key(CLICKS))])
            waits = (await found())["Scan"]
            assert waits.is_fault
            assert waits.text.startswith("does not have the positions: daemon.state has positions of clicks: copy them")
            await state.create([Lease(key=kcl_key(CLICKS), details={"table": "leases"})])
            assert not (await found())["Scan"].is_fault
        put(service, {**LEASE, "leaseKey": {"S": "123456789012:clicks:1700000000:shardId-000000000000"}})
        several = (await found())["Scan"]
        assert several.is_fault
        assert "is of a KCL application that reads several streams, which is not supported" in several.text


@pytest.mark.parametrize(
    "key", [":pause/orders", "clicks/arn:aws:kinesis:eu-west-1:1:stream/clicks/shardId-0", "other"]
)
async def test_a_table_with_rows_that_kcl_does_not_write_is_a_fault(tmp_path: Path, key: str) -> None:
    mapping = StreamMapping(
        name=MappingName("clicks"),
        event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
        function_name=FunctionName("f"),
        starting_position=TrimHorizon(),
        kcl_table="leases",
        region="eu-west-1",
        uuid="u",
    )
    async with dynamodb_over_http() as service, Aws(AwsSettings(endpoint_url=service.url)) as aws:
        await create(service, "leaseKey")
        checkpoint = "AFTER_SEQUENCE_NUMBER 495" if key == "other" else "TRIM_HORIZON"
        put(service, {**LEASE, "leaseKey": {"S": key}, "checkpoint": {"S": checkpoint}})
        (tmp_path / "poller.toml").write_text('[daemon]\nstate = "memory:"\n')
        *_, row = await kcl_table(mapping, "leases", load(tmp_path / "poller.toml", {}), aws)
        assert row.finding.is_fault
        assert row.finding.text.startswith(f"cannot be used: the lease '{key}' cannot be read as one of KCL: ")
        with pytest.raises(SettingsError, match=r"clicks\.kcl_table: the table leases cannot be used: the lease"):
            await rows_in_kcl_table(mapping, AwsSettings(endpoint_url=service.url))


async def test_a_destination_of_a_kind_without_a_check_is_an_advice() -> None:
    arn = Arn.parse("arn:aws:firehose:eu-west-1:123456789012:deliverystream/failures")
    async with Aws(AwsSettings()) as aws:
        [row] = await destination("option", arn, "eu-west-1", None, aws)
    assert row.finding is NOT_CHECKED
    assert row.finding.result == "advice"


class LimitedSqs(FakeSqs):
    """SQS, which denies some operations."""

    def __init__(self, *denied: str) -> None:
        super().__init__()
        self.denied = denied

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        if operation in self.denied:
            raise AccessDenied(f"not authorized to perform: sqs:{operation}", code="AccessDenied")
        return await super().call(operation, body, timeout_in_seconds=timeout_in_seconds)


@pytest.mark.parametrize(
    ("denied", "results"),
    [
        ((), {"DeleteMessage": "ok", "ChangeMessageVisibility": "ok"}),
        (("DeleteMessageBatch",), {"DeleteMessage": "fault", "ChangeMessageVisibility": "ok"}),
        (("ChangeMessageVisibilityBatch",), {"DeleteMessage": "ok", "ChangeMessageVisibility": "advice"}),
    ],
)
async def test_a_queue_tells_whether_messages_may_be_deleted_and_hidden(
    denied: tuple[str, ...], results: dict[str, str]
) -> None:
    sqs = LimitedSqs(*denied)
    queue = sqs.create_queue("orders")
    sqs.send(queue, "a message that must stay as it is")
    [message] = queue.messages
    before = repr(message)
    rows = await queue_access(sqs, sqs.url(queue), partial(Row, "option", str(queue.arn)))
    assert {row.check: row.finding.result for row in rows} == results
    texts = [row.finding.text for row in rows if row.finding.result != "ok"]
    assert all("not authorized to perform: sqs:DeleteMessageBatch" in text or text == CANNOT_HIDE for text in texts)
    assert [repr(one) for one in queue.messages] == [before]


async def test_a_missing_queue_is_a_fault_of_both_checks() -> None:
    rows = await queue_access(FakeSqs(), "http://sqs.fake/123456789012/none", partial(Row, "option", "arn"))
    assert [row.finding.result for row in rows] == ["fault", "fault"]


async def test_a_url_that_accepts_connections_is_fine_and_gets_no_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with Aws(AwsSettings()) as aws:
            [row] = await http_function("functions.f", f"http://user:secret@127.0.0.1:{port}/secret?token=secret", aws)
        assert row[:3] == ("functions.f", f"http://127.0.0.1:{port}", "connects")
        assert row.finding.result == "ok"
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1) == b""


async def test_a_url_that_accepts_no_connections_is_a_fault() -> None:
    async with Aws(AwsSettings()) as aws:
        [row] = await http_function("functions.f", "http://127.0.0.1:1", aws)
    assert row.finding == Finding("cannot connect to 127.0.0.1:1: Connection refused", is_fault=True)


async def test_a_url_behind_a_proxy_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with Aws(AwsSettings()) as aws:
        [row] = await http_function("functions.f", "http://functions.internal", aws)
    assert row.finding is THROUGH_A_PROXY


async def test_each_url_of_a_function_has_a_row(tmp_path: Path) -> None:
    file = tmp_path / "poller.toml"
    file.write_text('[functions.f]\nurls = ["http://127.0.0.1:1/a", "http://127.0.0.1:2/b"]\n')
    rows = await anyio.to_thread.run_sync(partial(rows_of, load(file, {})))
    assert [(row.option, row.resource) for row in rows] == [
        ("functions.f", "http://127.0.0.1:1"),
        ("functions.f", "http://127.0.0.1:2"),
    ]
