"""How does a request of AWS Lambda's API become a mapping?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from poller.errors import SettingsError
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import OnFailure, QueueMapping, StreamMapping
from poller.model.stream import AtTimestamp, Latest
from poller.settings.api_request import with_mapping
from poller.settings.values import Settings

Load = Callable[..., Settings]
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
KINESIS = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
DYNAMODB = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
FILE = f"""
[functions.f]
url = "http://a"
[functions.bill]
arn = "{BILL}"
[mappings.first]
event_source_arn = "{QUEUE}"
function_name = "f"
[mappings.second]
event_source_arn = "{QUEUE}"
function_name = "resize"
[mappings.clicks]
event_source_arn = "{KINESIS}"
function_name = "bill"
starting_position = "LATEST"
"""


@pytest.fixture
def settings(loaded: Load) -> Settings:
    return loaded(FILE)


@pytest.fixture
def faults(settings: Settings) -> Callable[..., list[str]]:
    def faults_of(**request: Any) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            with_mapping(settings, "new", request, {})
        return caught.value.faults

    return faults_of


@pytest.mark.parity(
    "CreateEventSourceMapping.EventSourceArn",
    "CreateEventSourceMapping.FunctionName",
    "CreateEventSourceMapping.Enabled",
)
def test_a_queues_mapping_is_added_to_the_settings(settings: Settings) -> None:
    request = {
        "EventSourceArn": f"{QUEUE}-new",
        "FunctionName": "f",
        "Enabled": False,
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 5,
        "FilterCriteria": {"Filters": [{"Pattern": '{"body": {"kind": ["signup"]}}'}]},
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": 2},
        "StartingPosition": None,
    }
    now = with_mapping(settings, "new", request, {})
    new = now.queue_mappings[-1]
    assert new == QueueMapping(
        name=MappingName("new"),
        event_source_arn=Arn.parse(f"{QUEUE}-new"),
        function_name=FunctionName("f"),
        is_enabled=False,
        batch_size=100,
        maximum_batching_window_in_seconds=5,
        filters=('{"body": {"kind": ["signup"]}}',),
        report_batch_item_failures=True,
        maximum_concurrency=2,
        region="eu-west-1",
        uuid=new.uuid,
    )
    assert now.queue_mappings[:-1] == settings.queue_mappings
    assert (now.stream_mappings, now.functions) == (settings.stream_mappings, settings.functions)


def test_a_streams_mapping_is_added_to_the_settings(settings: Settings) -> None:
    request = {
        "EventSourceArn": DYNAMODB,
        "FunctionName": "f",
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": 1769860800.5,
        "ParallelizationFactor": 2,
        "MaximumRetryAttempts": 3,
        "MaximumRecordAgeInSeconds": -1,
        "BisectBatchOnFunctionError": True,
        "TumblingWindowInSeconds": 0,
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}},
    }
    now = with_mapping(settings, "new", request, {})
    new = now.stream_mappings[-1]
    assert new == StreamMapping(
        name=MappingName("new"),
        event_source_arn=Arn.parse(DYNAMODB),
        function_name=FunctionName("f"),
        starting_position=AtTimestamp(1769860800.5),
        parallelization_factor=2,
        maximum_retry_attempts=3,
        bisect_batch_on_function_error=True,
        on_failure=OnFailure(destination_arn=Arn.parse("arn:aws:s3:::failures")),
        region="eu-west-1",
        uuid=new.uuid,
    )
    assert now.stream_mappings[:-1] == settings.stream_mappings
    assert now.queue_mappings == settings.queue_mappings


def test_every_fault_has_the_path_of_the_request(faults: Callable[..., list[str]]) -> None:
    assert faults(
        EventSourceArn=KINESIS,
        FunctionName="no function",
        BatchSize=20000,
        batch_size=1,
        Region="eu-west-1",
        Batchsize=1,
        FilterCriteria={"Filters": [{"Pattern": "{}"}, {"Pattern": "{", "Patern": ""}]},
        ScalingConfig={"MaximumConcurrency": 0},
        DestinationConfig={"OnFailure": {"Destination": f"{QUEUE}.fifo", "IfUnreachable": "drop"}},
        Destination="arn:aws:s3:::failures",
        Tags={},
        KMSKeyArn="k",
        Queues=["q"],
    ) == [
        'FunctionName = "no function": '
        "names no function: neither a key of [functions] nor a Lambda function's name or ARN",
        "BatchSize = 20000: must be a whole number of records from 1 to 10000",
        "batch_size = 1: unknown key; did you mean BatchSize?",
        'Region = "eu-west-1": unknown key; the known keys are ' + ", ".join(MEMBERS),
        "Batchsize = 1: unknown key; did you mean BatchSize?",
        'FilterCriteria.Filters[0].Pattern = "{}": Invalid filter pattern definition. Empty objects are not allowed.',
        'FilterCriteria.Filters[1].Pattern = "{": Invalid filter pattern definition. The pattern is not valid JSON: '
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1).",
        'FilterCriteria.Filters[1].Patern = "": unknown key; did you mean Pattern?',
        "ScalingConfig: Unsupported ScalingConfig parameter for given event source mapping type. "
        "It is for an SQS queue, not for a Kinesis stream",
        f'DestinationConfig.OnFailure.Destination = "{QUEUE}.fifo": a FIFO queue cannot be a destination',
        'DestinationConfig.OnFailure.IfUnreachable = "drop": unknown key; the known keys are Destination',
        'Destination = "arn:aws:s3:::failures": unknown key; did you mean DestinationConfig.OnFailure.Destination?',
        "Tags: is an option of AWS's own mappings and has no meaning here; leave it out",
        'KMSKeyArn = "k": is an option of AWS\'s own mappings and has no meaning here; leave it out',
        'Queues = ["q"]: is an option of AWS\'s own mappings and has no meaning here; leave it out',
        "StartingPosition: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null. "
        "A stream needs TRIM_HORIZON, LATEST or AT_TIMESTAMP",
    ]


MEMBERS = [
    "EventSourceArn",
    "FunctionName",
    "Enabled",
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FilterCriteria",
    "FunctionResponseTypes",
    "ScalingConfig",
    "StartingPosition",
    "StartingPositionTimestamp",
    "ParallelizationFactor",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "TumblingWindowInSeconds",
    "DestinationConfig",
]


def test_a_missing_member_has_the_name_of_the_request(faults: Callable[..., list[str]]) -> None:
    assert faults() == ["EventSourceArn: is required", "FunctionName: is required"]
    assert faults(EventSourceArn=None, FunctionName=5) == [
        "EventSourceArn: is required",
        "FunctionName = 5: must be text, in quotes",
    ]


@pytest.mark.parametrize("source", ["arn:aws:sqs:mars-1:123456789012:q", "arn:aws-cn:sqs:eu-west-1:123456789012:q"])
def test_a_region_must_exist_unless_an_endpoint_is_set(settings: Settings, source: str) -> None:
    request = {"EventSourceArn": source, "FunctionName": "f"}
    with pytest.raises(SettingsError) as caught:
        with_mapping(settings, "new", request, {})
    assert [fault.partition(" = ")[0] for fault in caught.value.faults] == ["EventSourceArn"]
    assert with_mapping(settings, "new", request, {"AWS_ENDPOINT_URL": "http://a"}).queue_mappings[-1].name == "new"


@pytest.mark.parametrize(
    ("source", "function", "first"),
    [
        (QUEUE, "f", "first"),
        (QUEUE, "resize", "second"),
        (QUEUE, "arn:aws:lambda:eu-west-1:123456789012:function:resize", "second"),
        (KINESIS, BILL, "clicks"),
    ],
)
def test_a_source_and_a_function_that_already_have_a_mapping_are_refused(
    faults: Callable[..., list[str]], source: str, function: str, first: str
) -> None:
    (fault,) = faults(
        EventSourceArn=source,
        FunctionName=function,
        **({"StartingPosition": "LATEST"} if source == KINESIS else {}),
    )
    assert fault.endswith(f"already exists. It is mappings.{first}")
    assert fault.startswith(("An event source mapping with SQS arn", "The event source arn"))


def test_a_function_of_the_settings_is_shared(settings: Settings) -> None:
    for function, name in (("f", "f"), ("bill", "bill"), (BILL, "bill"), ("resize", "resize")):
        now = with_mapping(settings, "new", {"EventSourceArn": f"{QUEUE}-new", "FunctionName": function}, {})
        assert (now.queue_mappings[-1].function_name, now.functions) == (name, settings.functions)


def test_a_new_function_of_aws_lambda_is_added(settings: Settings) -> None:
    now = with_mapping(settings, "new", {"EventSourceArn": f"{QUEUE}-new", "FunctionName": "resize:live"}, {})
    assert list(now.functions) == [*settings.functions, "resize:live"]


def test_a_name_means_the_function_of_the_mappings_region(settings: Settings) -> None:
    """The file has a function `resize` too, but of another region."""
    source = QUEUE.replace("eu-west-1", "us-east-1")
    now = with_mapping(settings, "new", {"EventSourceArn": source, "FunctionName": "resize"}, {})
    arn = "arn:aws:lambda:us-east-1:123456789012:function:resize"
    assert now.queue_mappings[-1].function_name == arn
    assert [function.arn.region for function in now.functions.values() if function.name == arn] == ["us-east-1"]


@pytest.mark.parametrize("request_", [None, [], "text", 5])
def test_a_request_that_is_not_an_object_is_refused(settings: Settings, request_: object) -> None:
    with pytest.raises(SettingsError) as caught:
        with_mapping(settings, "new", request_, {})
    assert caught.value.faults == ["the request must be a JSON object"]


def test_a_request_that_is_nested_too_deeply_is_refused(settings: Settings) -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = {"a": deep}
    with pytest.raises(SettingsError) as caught:
        with_mapping(settings, "new", {"FilterCriteria": {"Filters": [{"Pattern": deep}]}}, {})
    assert caught.value.faults == ["the request is nested too deeply"]


def test_two_requests_add_two_mappings(settings: Settings) -> None:
    request = {"EventSourceArn": f"{QUEUE}-new", "FunctionName": "resize:live"}
    now = with_mapping(settings, "new", request, {})
    with pytest.raises(SettingsError) as caught:
        with_mapping(now, "newer", request, {})
    assert caught.value.faults[0].endswith("It is mappings.new")
    request = {"EventSourceArn": KINESIS, "FunctionName": "resize:live", "StartingPosition": "LATEST"}
    assert with_mapping(now, "newer", request, {}).stream_mappings[-1].starting_position == Latest()
