"""What does `poller check --live` find out about real clients' answers? An emulator stands for AWS."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from typer.testing import CliRunner

from poller.cli import app

REGION = "us-east-1"


class Aws:
    """The emulator: its clients, and a settings file beside it."""

    def __init__(self, url: str, account: str) -> None:
        self.url = url
        self.account = account

    def client(self, service: str) -> Any:
        return botocore.session.get_session().create_client(service, region_name=REGION, endpoint_url=self.url)

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{REGION}:{self.account}:{resource}"

    def checked(self, folder: Path, text: str) -> tuple[int, dict[tuple[str, str], tuple[str, str]]]:
        """Return the exit code, and the result and the finding of each check of an option."""
        file = folder / "poller.toml"
        file.write_text(f'[daemon]\nregion = "{REGION}"\nendpoint_url = "{self.url}"\n{text}')
        done = CliRunner().invoke(app, ["check", "--live", "--json", "-c", str(file)])
        rows = json.loads(done.stdout)["rows"]
        return done.exit_code, {(row["option"], row["check"]): (row["result"], row["finding"]) for row in rows}


@pytest.fixture
def aws(ministack: str, account: str) -> Aws:
    return Aws(ministack, account)


def function(aws: Aws, timeout: int) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("f.py", "def handle(event, context):\n    raise SystemExit('a dry run ran the function')\n")
    created = aws.client("lambda").create_function(
        FunctionName="bill",
        Runtime="python3.12",
        Role=f"arn:aws:iam::{aws.account}:role/r",
        Handler="f.handle",
        Code={"ZipFile": buffer.getvalue()},
        Timeout=timeout,
    )
    return str(created["FunctionArn"])


def test_sources_functions_and_destinations_that_are_there_have_no_fault(aws: Aws, tmp_path: Path) -> None:
    bill = function(aws, timeout=60)
    aws.client("sqs").create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "30"})
    aws.client("sqs").create_queue(QueueName="failures")
    retention = {"MessageRetentionPeriod": "345600"}
    aws.client("sqs").create_queue(QueueName="events", Attributes=retention)
    aws.client("sns").create_topic(Name="done")
    aws.client("s3").create_bucket(Bucket=f"failures-{aws.account}")
    aws.client("kinesis").create_stream(StreamName="clicks", ShardCount=1)
    table = aws.client("dynamodb").create_table(
        TableName="users",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )["TableDescription"]
    code, found = aws.checked(
        tmp_path,
        f"""
        [functions.bill]
        arn = "{bill}"
        timeout_in_seconds = 45
        event_invoke_config.event_queue_arn = "{aws.arn("sqs", "events")}"
        event_invoke_config.destination_config.on_success.destination = "{aws.arn("sns", "done")}"
        event_invoke_config.destination_config.on_failure.destination = "arn:aws:s3:::failures-{aws.account}"
        [mappings.orders]
        event_source_arn = "{aws.arn("sqs", "orders")}"
        function_name = "bill"
        [mappings.clicks]
        event_source_arn = "{aws.arn("kinesis", "stream/clicks")}"
        function_name = "bill"
        starting_position = "LATEST"
        destination_config.on_failure.destination_arn = "{aws.arn("sqs", "failures")}"
        [mappings.users]
        event_source_arn = "{table["LatestStreamArn"]}"
        function_name = "bill"
        starting_position = "LATEST"
        """,
    )
    assert code == 0, found
    assert {check: result for check, (result, _) in found.items()} == {
        ("mappings.orders.event_source_arn", "GetQueueAttributes"): "ok",
        ("mappings.orders.event_source_arn", "DeleteMessage"): "ok",
        ("mappings.orders.event_source_arn", "ChangeMessageVisibility"): "ok",
        ("mappings.orders.event_source_arn", "VisibilityTimeout"): "advice",
        ("mappings.orders.event_source_arn", "RedrivePolicy"): "advice",
        ("mappings.clicks.event_source_arn", "ListShards"): "ok",
        ("mappings.clicks.event_source_arn", "GetRecords"): "ok",
        ("mappings.clicks.destination_config.on_failure", "exists"): "ok",
        ("mappings.users.event_source_arn", "DescribeStream"): "ok",
        ("mappings.users.event_source_arn", "GetRecords"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "GetQueueAttributes"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "DeleteMessage"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "ChangeMessageVisibility"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "FifoQueue"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "RedrivePolicy"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "MessageRetentionPeriod"): "ok",
        ("functions.bill.event_invoke_config.event_queue_arn", "MaximumMessageSize"): "ok",
        ("functions.bill", "Invoke (DryRun)"): "ok",
        ("functions.bill", "Timeout"): "advice",
        ("functions.bill.event_invoke_config.destination_config.on_success", "exists"): "ok",
        ("functions.bill.event_invoke_config.destination_config.on_failure", "exists"): "ok",
    }
    assert "runs for up to 60 s on Lambda, but timeout_in_seconds is 45" in found["functions.bill", "Timeout"][1]


def test_a_missing_thing_is_a_fault_at_the_option_that_names_it(aws: Aws, tmp_path: Path) -> None:
    code, found = aws.checked(
        tmp_path,
        f"""
        [functions.bill]
        arn = "{aws.arn("lambda", "function:bill")}"
        dead_letter_config.target_arn = "{aws.arn("sns", "nothing")}"
        [functions.mail]
        url = "http://127.0.0.1:1"
        event_invoke_config.destination_config.on_failure.destination = "arn:aws:s3:::nothing-{aws.account}"
        event_invoke_config.destination_config.on_success.destination = "{aws.arn("events", "event-bus/nothing")}"
        [mappings.orders]
        event_source_arn = "{aws.arn("sqs", "orders")}"
        function_name = "bill"
        [mappings.clicks]
        event_source_arn = "{aws.arn("kinesis", "stream/clicks")}"
        function_name = "bill"
        starting_position = "LATEST"
        destination_config.on_failure.destination_arn = "{aws.arn("sqs", "nothing")}"
        [mappings.users]
        event_source_arn = "{aws.arn("dynamodb", "table/users/stream/2026-01-01T00:00:00.000")}"
        function_name = "bill"
        starting_position = "LATEST"
        """,
    )
    assert code == 1
    assert {result for result, _ in found.values()} == {"fault"}
    assert {option for option, _ in found} == {
        "mappings.orders.event_source_arn",
        "mappings.clicks.event_source_arn",
        "mappings.clicks.destination_config.on_failure",
        "mappings.users.event_source_arn",
        "functions.bill",
        "functions.bill.dead_letter_config",
        "functions.mail",
        "functions.mail.event_invoke_config.destination_config.on_failure",
        "functions.mail.event_invoke_config.destination_config.on_success",
    }
