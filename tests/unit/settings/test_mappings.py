"""Which options may [mappings.*] have, and what are their values?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields

import pytest
from botocore.loaders import Loader

from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import OnFailure, QueueMapping, StreamMapping
from poller.model.stream import AtTimestamp, Latest, TrimHorizon
from poller.settings.mappings import QUEUES, STREAMS, MappingOptions
from poller.settings.options import api_name, declaration, leaves, limited
from poller.settings.values import Settings

Load = Callable[..., Settings]
MappingFaults = Callable[[str, str], list[str]]
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:buffer-queue"
DYNAMODB = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"
KINESIS = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
FUNCTION = '[functions.f]\nurl = "http://a"\n'


def test_a_queue_mapping_has_aws_defaults(loaded: Load) -> None:
    (mapping,) = loaded(f'{FUNCTION}[mappings.m]\nevent_source_arn = "{QUEUE}"\nfunction_name = "f"').queue_mappings
    assert mapping == QueueMapping(
        name=MappingName("m"),
        event_source_arn=Arn.parse(QUEUE),
        function_name=FunctionName("f"),
        is_enabled=True,
        batch_size=10,
        maximum_batching_window_in_seconds=0,
        filters=(),
        report_batch_item_failures=False,
        maximum_concurrency=None,
        role_arn=None,
        region="eu-west-1",
        uuid=mapping.uuid,
    )


@pytest.mark.parity("CreateEventSourceMapping.ScalingConfig.MaximumConcurrency", "concurrency of one")
def test_every_option_of_a_queue_mapping_is_read(loaded: Load) -> None:
    text = f"""{FUNCTION}
        [mappings.m]
        event_source_arn = "{QUEUE}"
        function_name = "f"
        enabled = false
        batch_size = 10000
        maximum_batching_window_in_seconds = 300
        filter_criteria.filters = [{{ pattern = {{ body = {{ kind = ["signup", "ü"] }} }} }}]
        function_response_types = ["ReportBatchItemFailures"]
        scaling_config = {{ maximum_concurrency = 1 }}
        role_arn = "arn:aws:iam::123456789012:role/reader"
        region = "eu-west-2"
        uuid = "6D2D5A0E-6c0b-4b1e-9a49-0f4b8a1c7e55"
    """
    assert loaded(text).queue_mappings == (
        QueueMapping(
            name=MappingName("m"),
            event_source_arn=Arn.parse(QUEUE),
            function_name=FunctionName("f"),
            is_enabled=False,
            batch_size=10000,
            maximum_batching_window_in_seconds=300,
            filters=('{"body": {"kind": ["signup", "ü"]}}',),
            report_batch_item_failures=True,
            maximum_concurrency=1,
            role_arn="arn:aws:iam::123456789012:role/reader",
            region="eu-west-2",
            uuid="6d2d5a0e-6c0b-4b1e-9a49-0f4b8a1c7e55",
        ),
    )


def test_a_stream_mapping_has_aws_defaults(loaded: Load) -> None:
    text = f'{FUNCTION}[mappings.m]\nevent_source_arn = "{KINESIS}"\nfunction_name = "f"\nstarting_position = "LATEST"'
    (mapping,) = loaded(text).stream_mappings
    assert mapping == StreamMapping(
        name=MappingName("m"),
        event_source_arn=Arn.parse(KINESIS),
        function_name=FunctionName("f"),
        is_enabled=True,
        batch_size=100,
        maximum_batching_window_in_seconds=0,
        filters=(),
        report_batch_item_failures=False,
        starting_position=Latest(),
        parallelization_factor=1,
        maximum_retry_attempts=None,
        maximum_record_age_in_seconds=None,
        bisect_batch_on_function_error=False,
        tumbling_window_in_seconds=None,
        on_failure=None,
        role_arn=None,
        region="eu-west-1",
        uuid=mapping.uuid,
    )
    assert mapping.is_kinesis


def test_every_option_of_a_stream_mapping_is_read(loaded: Load) -> None:
    text = f"""{FUNCTION}
        [mappings.m]
        event_source_arn = "{DYNAMODB}"
        function_name = "f"
        batch_size = 101
        filter_criteria.filters = [{{ pattern = '{{"dynamodb": {{"Keys": {{"id": {{"S": ["a"]}}}}}}}}' }}]
        starting_position = "TRIM_HORIZON"
        parallelization_factor = 10
        maximum_retry_attempts = 0
        maximum_record_age_in_seconds = 60
        bisect_batch_on_function_error = true
        destination_config.on_failure = {{ destination_arn = "arn:aws:s3:::failures", if_unreachable = "drop" }}
        uuid = "6d2d5a0e-6c0b-4b1e-9a49-0f4b8a1c7e55"
    """
    assert loaded(text).stream_mappings == (
        StreamMapping(
            name=MappingName("m"),
            event_source_arn=Arn.parse(DYNAMODB),
            function_name=FunctionName("f"),
            batch_size=101,
            filters=('{"dynamodb": {"Keys": {"id": {"S": ["a"]}}}}',),
            starting_position=TrimHorizon(),
            parallelization_factor=10,
            maximum_retry_attempts=0,
            maximum_record_age_in_seconds=60,
            bisect_batch_on_function_error=True,
            on_failure=OnFailure(destination_arn=Arn.parse("arn:aws:s3:::failures"), if_unreachable="drop"),
            region="eu-west-1",
            uuid="6d2d5a0e-6c0b-4b1e-9a49-0f4b8a1c7e55",
        ),
    )


@pytest.mark.parametrize("moment", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "1769860800", "1769860800.0"])
@pytest.mark.parametrize("source", [KINESIS, DYNAMODB])
@pytest.mark.parity("CreateEventSourceMapping.StartingPositionTimestamp")
def test_a_starting_timestamp_is_a_date_time_or_seconds(loaded: Load, source: str, moment: str) -> None:
    """On AWS Lambda only mappings of Kinesis have it."""
    text = f"""{FUNCTION}
        [mappings.m]
        event_source_arn = "{source}"
        function_name = "f"
        starting_position = "AT_TIMESTAMP"
        starting_position_timestamp = {moment}
    """
    (mapping,) = loaded(text).stream_mappings
    assert mapping.starting_position == AtTimestamp(1769860800)


def test_the_default_uuid_is_derived_from_the_mappings_name(loaded: Load) -> None:
    text = FUNCTION + "".join(
        f'[mappings.{name}]\nevent_source_arn = "{QUEUE}-{name}"\nfunction_name = "f"\n' for name in ("a", "b")
    )
    first, again = loaded(text).queue_mappings, loaded(text).queue_mappings
    assert [mapping.uuid for mapping in first] == [mapping.uuid for mapping in again]
    assert first[0].uuid != first[1].uuid


def test_a_pattern_as_a_table_equals_the_same_pattern_as_json(loaded: Load) -> None:
    """The table has numbers, booleans, nesting and quotes. A key that is written twice in JSON stays twice."""
    text = f"""{FUNCTION}
        [mappings.m]
        event_source_arn = "{QUEUE}"
        function_name = "f"
        [[mappings.m.filter_criteria.filters]]
        pattern.body.age = [{{ numeric = [">=", 18.5] }}, {{ exists = false }}]
        pattern.body.name = ['a"b']
        [[mappings.m.filter_criteria.filters]]
        pattern = '{{"body": {{"a": ["b"]}}, "body": {{"c": ["d"]}}}}'
    """
    (mapping,) = loaded(text).queue_mappings
    table, text = mapping.filters
    assert json.loads(table) == {"body": {"age": [{"numeric": [">=", 18.5]}, {"exists": False}], "name": ['a"b']}}
    assert text == '{"body": {"a": ["b"]}, "body": {"c": ["d"]}}'


def test_a_value_from_the_environment_is_escaped_in_the_table_of_a_pattern(loaded: Load) -> None:
    text = f"""{FUNCTION}
        [mappings.m]
        event_source_arn = "{QUEUE}"
        function_name = "f"
        filter_criteria.filters = [{{ pattern = {{ body = {{ kind = ["${{KIND}}"] }} }} }}]
    """
    (mapping,) = loaded(text, KIND='a"], "b": ["c').queue_mappings
    assert json.loads(mapping.filters[0]) == {"body": {"kind": ['a"], "b": ["c']}}


@pytest.mark.parametrize(
    ("source", "option", "fault"),
    [
        ("queue", "batch_size = 0", "must be a whole number of records from 1 to 10000"),
        ("queue", "batch_size = 10001", "must be a whole number of records from 1 to 10000"),
        ("queue", "batch_size = 2.0", "must be a whole number of records from 1 to 10000"),
        ("queue", "batch_size = true", "must be a whole number of records from 1 to 10000"),
        ("queue", "maximum_batching_window_in_seconds = 301", "must be a whole number of seconds from 0 to 300"),
        ("queue", "scaling_config.maximum_concurrency = 0", "invocations at once from 1 to 1000"),
        ("queue", "scaling_config.maximum_concurrency = 1001", "invocations at once from 1 to 1000"),
        ("queue", "enabled = 1", "enabled = 1: must be true or false"),
        ("queue", 'function_response_types = ["All"]', 'must be "ReportBatchItemFailures"'),
        ("queue", 'function_response_types = "ReportBatchItemFailures"', "must be a list"),
        (
            "queue",
            'function_response_types = ["ReportBatchItemFailures", "ReportBatchItemFailures"]',
            "FunctionResponseTypes has at most one item",
        ),
        (
            "queue",
            "strict_response = true",
            'strict_response = true: needs function_response_types = ["ReportBatchItemFailures"]',
        ),
        (
            "queue",
            "redelivery_backoff = { initial_in_seconds = 0, maximum_in_seconds = 10 }",
            "initial_in_seconds = 0: must be a whole number of seconds from 1 to 43200",
        ),
        (
            "queue",
            "redelivery_backoff = { maximum_in_seconds = 4 }",
            "maximum_in_seconds = 4: must not be less than initial_in_seconds (5)",
        ),
        (
            "kinesis",
            "redelivery_backoff = { initial_in_seconds = 5, maximum_in_seconds = 9 }",
            "It is for an SQS queue, not for a Kinesis stream",
        ),
        ("queue", 'role_arn = "reader"', "is not an ARN"),
        ("queue", 'role_arn = "arn:aws:iam::123456789012:user/me"', "must be a role's ARN"),
        ("queue", 'uuid = "1"', "must be a UUID"),
        ("dynamodb", 'starting_position = "OLDEST"', '"TRIM_HORIZON", "LATEST" or "AT_TIMESTAMP"'),
        ("kinesis", "parallelization_factor = 11", "must be a whole number of batches at once from 1 to 10"),
        ("kinesis", "maximum_retry_attempts = -2", "attempts from 0 to 10000, or -1 for no limit"),
        ("kinesis", "maximum_retry_attempts = 10001", "attempts from 0 to 10000, or -1 for no limit"),
        ("kinesis", "maximum_record_age_in_seconds = 59", "seconds from 60 to 604800, or -1 for no limit"),
        ("kinesis", "maximum_record_age_in_seconds = 0", "seconds from 60 to 604800, or -1 for no limit"),
        ("kinesis", "maximum_record_age_in_seconds = 604801", "seconds from 60 to 604800, or -1 for no limit"),
        ("kinesis", "tumbling_window_in_seconds = 901", "must be a whole number of seconds from 0 to 900"),
        ("kinesis", 'bisect_batch_on_function_error = "yes"', "must be true or false"),
        ("kinesis", "starting_position_timestamp = 2026-01-31T12:00:00", "must be a date-time with its offset"),
        ("kinesis", "starting_position_timestamp = 2026-01-31", "must be a date-time with its offset"),
        ("kinesis", "starting_position_timestamp = -1", "must be a date-time with its offset"),
        ("kinesis", "starting_position_timestamp = true", "must be a date-time with its offset"),
    ],
)
def test_an_invalid_value_of_an_option_is_refused(
    mapping_faults: MappingFaults, source: str, option: str, fault: str
) -> None:
    needed = 'starting_position = "AT_TIMESTAMP"' if "timestamp" in option else 'starting_position = "LATEST"'
    options = f"{needed}\n{option}" if source == "kinesis" else option
    (message,) = mapping_faults(source, options)
    assert message.startswith(option.partition(" = ")[0])
    assert fault in message


@pytest.mark.parametrize(
    ("arn", "rule"),
    [
        ("arn:aws:s3:::bucket", "Unrecognized event source."),
        ("arn:aws:kafka:eu-west-1:123456789012:cluster/a/b", "Unrecognized event source."),
        ("arn:aws:sqs:eu-west-1::q", "needs a region and an account of twelve digits"),
        ("arn:aws:sqs::123456789012:q", "needs a region and an account of twelve digits"),
        ("arn:aws:sqs:eu-west-1:123456789012:a/b", "ends in queue-name or queue-name.fifo"),
        ("arn:aws:kinesis:eu-west-1:123456789012:clicks", "ends in stream/NAME"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/users", "ends in table/NAME/stream/LABEL"),
        (
            "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/latest",
            "LABEL is when the stream was enabled, as in 2026-01-31T12:00:00.000",
        ),
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
            "is not an ARN but a queue's url; its ARN is arn:aws:sqs:eu-west-1:123456789012:q",
        ),
        (
            "https://cn-north-1.queue.amazonaws.com.cn/123456789012/q.fifo",
            "is not an ARN but a queue's url; its ARN is arn:aws-cn:sqs:cn-north-1:123456789012:q.fifo",
        ),
        ("http://localhost:9324/000000000000/q", "is not an ARN but a url; a queue's ARN is as in arn:aws:sqs:"),
    ],
)
def test_an_arn_that_is_not_a_source_is_refused(faults: Callable[..., list[str]], arn: str, rule: str) -> None:
    (fault,) = faults(f'{FUNCTION}[mappings.m]\nevent_source_arn = "{arn}"\nfunction_name = "f"')
    assert fault.startswith(f'mappings.m.event_source_arn = "{arn}": ')
    assert rule in fault


def test_a_consumer_of_a_kinesis_stream_is_a_source(loaded: Load) -> None:
    arn = f"{KINESIS}/consumer/mine:1700000000"
    text = f'{FUNCTION}[mappings.m]\nevent_source_arn = "{arn}"\nfunction_name = "f"\nstarting_position = "LATEST"'
    (mapping,) = loaded(text).stream_mappings
    assert str(mapping.event_source_arn) == arn


def test_an_option_for_one_kind_of_mapping_is_marked_so() -> None:
    """Without the marker, a mapping of the other kind would take the option and ignore it."""
    of_queues, of_streams = ({field.name for field in fields(kind)} for kind in (QueueMapping, StreamMapping))
    for option in leaves(MappingOptions):
        kinds = limited(MappingOptions).get(option[0])
        if (of_queues - of_streams).intersection(option):
            assert kinds == QUEUES.kinds, f"mark {option[0]} with QUEUES"
        if (of_streams - of_queues).intersection(option):
            assert kinds == STREAMS.kinds, f"mark {option[0]} with STREAMS"


@pytest.mark.parametrize("option", leaves(MappingOptions), ids=".".join)
def test_an_option_that_aws_does_not_have_is_marked_so(option: tuple[str, ...]) -> None:
    """AWS's options are those of "CreateEventSourceMapping", as botocore describes it."""
    shapes = Loader().load_service_model("lambda", "service-2")["shapes"]
    members = shapes["CreateEventSourceMappingRequest"]["members"]
    for end, part in enumerate(option, start=1):
        name = api_name(part, declaration(MappingOptions, option[:end]))
        if name is None:
            assert api_name(part, None) not in members, f"{part} is an option of AWS, so it is not marked with OURS"
            break
        assert name in members, f"mark {part} with OURS, or give it AWS's name with ApiName"
        members = shapes[members[name]["shape"]].get("members", {})
