"""Does `poller import` print every option of a mapping on AWS Lambda, so that a file means the same mapping?"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_thread
import pytest
from typer.testing import CliRunner, Result

from poller.aws.clients import Aws, AwsSettings
from poller.cli import app
from poller.model.arn import Arn
from poller.model.ids import FunctionName
from poller.model.mapping import OnFailure, QueueMapping, StreamMapping
from poller.model.stream import Latest, TrimHorizon
from poller.settings.loading import load
from poller.settings.values import Settings
from tests.conftest import REGION

pytestmark = pytest.mark.anyio
PATTERN = json.dumps({"body": {"kind": ["signup"]}})
DATA_PATTERN = json.dumps({"data": {"kind": ["click"]}})


def zipped(name: str, text: str) -> bytes:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr(name, text)
    return code.getvalue()


CODE = {"ZipFile": zipped("app/main.py", "def handle(event, context): return None")}


class Region(NamedTuple):
    """An account on an emulator with the function `insert` and one source of each kind, by their ARNs."""

    aws: Aws
    url: str
    account: str
    queue: str
    stream: str
    table: str
    failures: str

    @property
    def function(self) -> str:
        return f"arn:aws:lambda:{REGION}:{self.account}:function:insert"

    async def map(self, **request: Any) -> dict[str, Any]:
        async with self.aws.client("lambda") as client:
            answer: dict[str, Any] = await client.create_event_source_mapping(FunctionName="insert", **request)
            return answer

    async def imported(self, *options: str) -> Result:
        arguments = ["import", "--region", REGION, "--endpoint-url", self.url, *options]
        return await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, arguments))

    async def settings(self, folder: Path) -> Settings:
        """Import the region, write the file, and load it."""
        done = await self.imported()
        assert done.exit_code == 0, done.stderr
        file = folder / "poller.toml"
        file.write_text(done.stdout)
        return load(file, os.environ)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # aiobotocore needs it


@pytest.fixture
async def region(account: str, ministack: str) -> AsyncIterator[Region]:
    async with Aws(AwsSettings(region=REGION, endpoint_url=ministack)) as aws:
        async with aws.client("lambda") as client:
            await client.create_function(
                FunctionName="insert",
                Runtime="python3.12",
                Role=f"arn:aws:iam::{account}:role/r",
                Handler="app/main.handle",
                Code=CODE,
                Timeout=45,
                MemorySize=512,
                Environment={"Variables": {"TABLE": "users", "PASSWORD": "s3cret"}},
                DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:{account}:dead"},
            )
        async with aws.client("sqs") as client:
            for name in ("orders", "failures", "dead"):
                await client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "30"})
        async with aws.client("kinesis") as client:
            await client.create_stream(StreamName="clicks", ShardCount=1)
        async with aws.client("dynamodb") as client:
            table = await client.create_table(
                TableName="users",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            )
        yield Region(
            aws,
            ministack,
            account,
            queue=f"arn:aws:sqs:{REGION}:{account}:orders",
            stream=f"arn:aws:kinesis:{REGION}:{account}:stream/clicks",
            table=table["TableDescription"]["LatestStreamArn"],
            failures=f"arn:aws:sqs:{REGION}:{account}:failures",
        )


async def test_every_option_of_a_mapping_of_a_queue_comes_back(region: Region, tmp_path: Path) -> None:
    made = await region.map(
        EventSourceArn=region.queue,
        BatchSize=50,
        MaximumBatchingWindowInSeconds=5,
        FilterCriteria={"Filters": [{"Pattern": PATTERN}]},
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 7},
    )
    [mapping] = (await region.settings(tmp_path)).queue_mappings
    assert mapping == QueueMapping(
        name=mapping.name,
        event_source_arn=Arn.parse(region.queue),
        function_name=FunctionName("insert"),
        is_enabled=False,
        batch_size=50,
        maximum_batching_window_in_seconds=5,
        filters=(PATTERN,),
        report_batch_item_failures=True,
        maximum_concurrency=7,
        region=REGION,
        uuid=made["UUID"],
    )
    assert mapping.name == "orders_to_insert"


async def test_every_option_of_a_mapping_of_a_stream_comes_back(region: Region, tmp_path: Path) -> None:
    made = await region.map(
        EventSourceArn=region.stream,
        StartingPosition="LATEST",  # ministack does not list the timestamp of AT_TIMESTAMP
        BatchSize=200,
        MaximumBatchingWindowInSeconds=3,
        ParallelizationFactor=4,
        MaximumRecordAgeInSeconds=3600,
        MaximumRetryAttempts=5,
        BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": DATA_PATTERN}]},
        DestinationConfig={"OnFailure": {"Destination": region.failures}},
    )
    [mapping] = (await region.settings(tmp_path)).stream_mappings
    assert mapping == StreamMapping(
        name=mapping.name,
        event_source_arn=Arn.parse(region.stream),
        function_name=FunctionName("insert"),
        is_enabled=False,
        batch_size=200,
        maximum_batching_window_in_seconds=3,
        filters=(DATA_PATTERN,),
        report_batch_item_failures=True,
        starting_position=Latest(),
        parallelization_factor=4,
        maximum_retry_attempts=5,
        maximum_record_age_in_seconds=3600,
        bisect_batch_on_function_error=True,
        on_failure=OnFailure(destination_arn=Arn.parse(region.failures)),
        region=REGION,
        uuid=made["UUID"],
    )


async def test_a_mapping_with_windows_comes_back_from_a_second_emulator(
    account: str, moto: str, tmp_path: Path
) -> None:
    """ministack keeps no windows. No emulator lists the time of AT_TIMESTAMP; tests/unit/cli has both."""
    async with Aws(AwsSettings(region=REGION, endpoint_url=moto)) as aws:
        async with aws.client("iam") as client:
            policy = {"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}}
            made = await client.create_role(RoleName="import", AssumeRolePolicyDocument=json.dumps(policy))
        async with aws.client("kinesis") as client:
            await client.create_stream(StreamName="import", ShardCount=1)
            stream = (await client.describe_stream_summary(StreamName="import"))["StreamDescriptionSummary"][
                "StreamARN"
            ]
        async with aws.client("lambda") as client:
            await client.create_function(
                FunctionName="import", Runtime="python3.12", Role=made["Role"]["Arn"], Handler="a.b", Code=CODE
            )
            await client.create_event_source_mapping(
                FunctionName="import", EventSourceArn=stream, StartingPosition="LATEST", TumblingWindowInSeconds=60
            )
    arguments = ["import", "--region", REGION, "--endpoint-url", moto, "--function", "import"]
    done = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(app, arguments))
    (tmp_path / "poller.toml").write_text(done.stdout)
    [mapping] = load(tmp_path / "poller.toml", os.environ).stream_mappings
    assert (str(mapping.event_source_arn), mapping.tumbling_window_in_seconds) == (stream, 60)


async def test_the_defaults_of_a_mapping_of_a_table_come_back(region: Region, tmp_path: Path) -> None:
    await region.map(EventSourceArn=region.table, StartingPosition="TRIM_HORIZON", BatchSize=100)
    [mapping] = (await region.settings(tmp_path)).stream_mappings
    assert mapping.starting_position == TrimHorizon()
    assert (mapping.maximum_retry_attempts, mapping.maximum_record_age_in_seconds) == (None, None)
    assert mapping.batch_size == 100


async def test_the_function_has_its_timeout_and_the_settings_of_its_events(region: Region, tmp_path: Path) -> None:
    await region.map(EventSourceArn=region.queue)
    async with region.aws.client("lambda") as client:
        await client.put_function_event_invoke_config(
            FunctionName="insert",
            MaximumRetryAttempts=1,
            MaximumEventAgeInSeconds=120,
            DestinationConfig={"OnFailure": {"Destination": region.failures}},
        )
        await client.put_function_concurrency(FunctionName="insert", ReservedConcurrentExecutions=6)
    function = (await region.settings(tmp_path)).functions[FunctionName("insert")]
    assert (str(function.arn), function.timeout_in_seconds) == (region.function, 45)
    assert (function.reserved_concurrency, function.is_concurrency_reserved) == (6, True)
    events = function.event_invoke_config
    assert (events.maximum_retry_attempts, events.maximum_event_age_in_seconds) == (1, 120)
    assert (str(events.on_failure), events.on_success) == (region.failures, None)
    assert str(events.dead_letter_arn) == f"arn:aws:sqs:{REGION}:{region.account}:dead"


async def test_comments_say_what_differs_and_no_value_of_a_variable_is_printed(region: Region) -> None:
    await region.map(EventSourceArn=region.queue, BatchSize=10)
    printed = (await region.imported()).stdout
    assert '#   handler = "app.main:handle"   # python3.12' in printed
    assert "its variables: PASSWORD, TABLE" in printed
    assert "s3cret" not in printed
    assert "# The queue's visibility timeout is 30 s, but a batch may take 45 s:" in printed


async def test_only_mappings_of_the_named_function_and_with_the_tags_are_imported(region: Region) -> None:
    await region.map(EventSourceArn=region.queue, Tags={"team": "signup"})
    await region.map(EventSourceArn=region.failures)
    assert "orders_to_insert" in (await region.imported("--function", "insert")).stdout
    printed = (await region.imported("--tag", "team=signup")).stdout
    assert "orders_to_insert" in printed
    assert "failures_to_insert" not in printed
    for options in (("--function", "other"), ("--tag", "team=billing")):
        done = await region.imported(*options)
        assert (done.exit_code, done.stdout) == (1, "")


async def test_a_function_that_is_gone_is_warned_about_and_its_mapping_still_imported(region: Region) -> None:
    await region.map(EventSourceArn=region.queue)
    async with region.aws.client("lambda") as client:
        await client.delete_function(FunctionName="insert")
    done = await region.imported()
    assert f"warning: the function {region.function} is not described" in done.stderr
    assert "orders_to_insert" in done.stdout
