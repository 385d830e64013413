"""Which options of a mapping can be combined?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.settings.values import Settings

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]
MappingFaults = Callable[[str, str], list[str]]
STREAM_OPTIONS = {
    "starting_position": '"LATEST"',
    "parallelization_factor": "1",
    "maximum_retry_attempts": "-1",
    "maximum_record_age_in_seconds": "-1",
    "bisect_batch_on_function_error": "false",
    "tumbling_window_in_seconds": "0",
    "destination_config": "{}",
}


@pytest.mark.parametrize("source", ["queue", "fifo"])
@pytest.mark.parametrize("option", STREAM_OPTIONS)
def test_a_queue_takes_no_option_of_streams(mapping_faults: MappingFaults, source: str, option: str) -> None:
    """An option of streams is refused even with its default value."""
    name = "".join(word.capitalize() for word in option.split("_"))
    (fault,) = mapping_faults(source, f"{option} = {STREAM_OPTIONS[option]}")
    assert f"Unsupported {name} parameter for given event source mapping type." in fault


@pytest.mark.parametrize("source", ["kinesis", "dynamodb"])
def test_a_stream_takes_no_scaling_config(mapping_faults: MappingFaults, source: str) -> None:
    (fault,) = mapping_faults(source, 'starting_position = "LATEST"\nscaling_config.maximum_concurrency = 2')
    assert "Unsupported ScalingConfig parameter for given event source mapping type." in fault


def test_an_unsupported_option_that_aws_does_not_have_is_named_as_in_the_file(
    monkeypatch: pytest.MonkeyPatch, mapping_faults: MappingFaults
) -> None:
    monkeypatch.setattr("poller.settings.mapping_rules.limited", lambda _model: {"region": ("kinesis",)})
    (fault,) = mapping_faults("queue", 'region = "eu-west-1"')
    assert "Unsupported region parameter for given event source mapping type." in fault
    assert fault.endswith("It is for a Kinesis stream, not for an SQS queue")


@pytest.mark.parametrize(
    "options",
    ["parallelization_factor = 99", 'starting_position = "latest"', "destination_config.on_failure.wrong = 1"],
)
def test_an_option_that_does_not_apply_has_no_other_fault(mapping_faults: MappingFaults, options: str) -> None:
    (fault,) = mapping_faults("queue", options)
    assert " parameter for given event source mapping type." in fault


@pytest.mark.parametrize(
    ("source", "options", "unreadable"),
    [
        ("queue", "batch_size = 11\nmaximum_batching_window_in_seconds = '1'", "maximum_batching_window_in_seconds"),
        ("kinesis", "starting_position = 'AT_TIME'\nstarting_position_timestamp = 1", "starting_position"),
    ],
)
def test_a_rule_reports_nothing_if_a_value_that_it_needs_cannot_be_read(
    mapping_faults: MappingFaults, source: str, options: str, unreadable: str
) -> None:
    (fault,) = mapping_faults(source, options)
    assert fault.startswith(f"{unreadable} = ")


@pytest.mark.parametrize("option", ["event_source_arn", "function_name"])
def test_a_mapping_needs_a_source_and_a_function(faults: Faults, option: str) -> None:
    options = {"event_source_arn": "arn:aws:sqs:eu-west-1:123456789012:q", "function_name": "f"}
    del options[option]
    text = "\n".join(f'{key} = "{value}"' for key, value in options.items())
    assert faults(f"[mappings.m]\n{text}") == [f"mappings.m.{option}: is required"]


def test_a_large_batch_of_a_queue_needs_a_window(loaded: Load, mapping_faults: MappingFaults) -> None:
    rule = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    assert mapping_faults("queue", "batch_size = 11") == [f"batch_size = 11: {rule}"]
    source = 'event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"\nfunction_name = "f"'
    for options in ("batch_size = 10", "batch_size = 11\nmaximum_batching_window_in_seconds = 1"):
        assert loaded(f"[mappings.m]\n{source}\n{options}").queue_mappings


def test_a_fifo_queue_has_small_batches_and_no_window(mapping_faults: MappingFaults) -> None:
    assert mapping_faults("fifo", "batch_size = 11\nmaximum_batching_window_in_seconds = 1") == [
        "batch_size = 11: must be a whole number of records from 1 to 10 for a FIFO queue",
        "maximum_batching_window_in_seconds = 1: MaximumBatchingWindowInSeconds cannot be used with a FIFO queue",
    ]


@pytest.mark.parametrize("source", ["kinesis", "dynamodb"])
def test_a_stream_needs_a_starting_position(mapping_faults: MappingFaults, source: str) -> None:
    (fault,) = mapping_faults(source, "")
    assert fault.startswith("starting_position: Value null at 'startingPosition' failed to satisfy constraint")


@pytest.mark.parametrize("source", ["kinesis", "dynamodb"])
def test_at_timestamp_and_its_timestamp_need_each_other(mapping_faults: MappingFaults, source: str) -> None:
    assert mapping_faults(source, 'starting_position = "AT_TIMESTAMP"') == [
        "starting_position_timestamp: is required with AT_TIMESTAMP"
    ]
    assert mapping_faults(source, 'starting_position = "LATEST"\nstarting_position_timestamp = 1') == [
        "starting_position_timestamp = 1: can only be used with AT_TIMESTAMP as the starting position"
    ]


@pytest.mark.parametrize("moment", ["1969-12-31T23:59:59Z", "-1"])
def test_a_timestamp_is_not_before_1970(mapping_faults: MappingFaults, moment: str) -> None:
    options = f'starting_position = "AT_TIMESTAMP"\nstarting_position_timestamp = {moment}'
    (fault,) = mapping_faults("kinesis", options)
    assert "must be a date-time with its offset, as in 2026-01-31T12:00:00Z, or seconds since 1970" in fault


@pytest.mark.parametrize("moment", ["1769860800000", '"${MOMENT}"'])
def test_a_timestamp_in_milliseconds_is_recognised(faults: Faults, moment: str) -> None:
    (fault,) = faults(
        f"""
        [mappings.m]
        event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
        function_name = "f"
        starting_position = "AT_TIMESTAMP"
        starting_position_timestamp = {moment}
        """,
        MOMENT="1769860800000",
    )
    assert fault.endswith("or seconds since 1970; these look like milliseconds, so divide them by 1000")


def test_a_timestamp_lies_in_the_past(mapping_faults: MappingFaults) -> None:
    (fault,) = mapping_faults(
        "kinesis", 'starting_position = "AT_TIMESTAMP"\nstarting_position_timestamp = 9999-01-01T00:00:00Z'
    )
    assert fault.endswith("must not be in the future")


def test_a_tumbling_window_goes_with_neither_lanes_nor_filters(mapping_faults: MappingFaults) -> None:
    options = 'starting_position = "LATEST"\ntumbling_window_in_seconds = 60\n'
    filters = 'filter_criteria.filters = [{ pattern = { data = { a = ["b"] } } }]'
    assert mapping_faults("kinesis", f"{options}parallelization_factor = 2\n{filters}") == [
        "tumbling_window_in_seconds = 60: a tumbling window cannot be used with filters",
        "parallelization_factor = 2: ParallelizationFactor must be 1 with a tumbling window",
    ]


def test_a_tumbling_window_goes_with_an_empty_filter_criteria(loaded: Load) -> None:
    text = """
        [mappings.m]
        event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
        function_name = "f"
        starting_position = "LATEST"
        tumbling_window_in_seconds = 60
        parallelization_factor = 1
        filter_criteria.filters = []
    """
    (mapping,) = loaded(text).stream_mappings
    assert mapping.tumbling_window_in_seconds == 60


@pytest.mark.parametrize(
    ("arn", "rule"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:failures.fifo", "a FIFO queue cannot be a destination"),
        ("arn:aws:sns:eu-west-1:123456789012:failures.fifo", "a FIFO topic cannot be a destination"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", "a destination is a standard SQS queue"),
        ("arn:aws:s3:::" + "b" * 350, "a destination's ARN has at most 350 characters"),
        ("arn:aws:s3:::failures/clicks", "a destination's ARN of s3 ends in ::bucket-name, without a prefix"),
        ("arn:aws:s3:eu-west-1:123456789012:failures", "a destination's ARN of s3 ends in ::bucket-name"),
        ("arn:aws:sqs:::failures", "a destination's ARN of sqs ends in region:account:queue-name"),
        ("arn:aws:sqs:eu-west-1:123456789012:my failures", "a destination's ARN of sqs ends in"),
        ("arn:aws:sns:eu-west-1:123456789012:failures:5c8c7ebd", "a destination's ARN of sns ends in"),
        ("failures", "is not an ARN"),
    ],
)
def test_a_destination_is_a_standard_queue_a_standard_topic_or_a_bucket(
    mapping_faults: MappingFaults, arn: str, rule: str
) -> None:
    destination = f'destination_config.on_failure.destination_arn = "{arn}"'
    (fault,) = mapping_faults("kinesis", f'starting_position = "LATEST"\n{destination}')
    assert rule in fault


def test_if_unreachable_needs_a_destination(mapping_faults: MappingFaults) -> None:
    options = 'starting_position = "LATEST"\ndestination_config.on_failure.if_unreachable = "drop"'
    assert mapping_faults("kinesis", options) == ["destination_config.on_failure.destination_arn: is required"]


def test_only_on_failure_has_a_destination(mapping_faults: MappingFaults) -> None:
    options = 'starting_position = "LATEST"\ndestination_config.on_success.destination_arn = "arn:aws:s3:::b"'
    (fault,) = mapping_faults("kinesis", options)
    assert fault.startswith("destination_config.on_success: unknown key")


def test_a_source_and_a_function_have_only_one_mapping(faults: Faults) -> None:
    """The function may be named in any way, and the mapping may be disabled."""
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
    text = "".join(
        f"""
        [mappings.{name}]
        event_source_arn = "{arn}"
        function_name = "{function}"
        starting_position = "LATEST"
        enabled = false
        """
        for name, function in (
            ("a", "resize"),
            ("b", "arn:aws:lambda:eu-west-1:123456789012:function:resize"),
            ("c", "resize:live"),
        )
    )
    assert faults(text) == [
        f'mappings.b: The event source arn (" {arn} ") and function '
        '(" arn:aws:lambda:eu-west-1:123456789012:function:resize ") provided mapping already exists. It is mappings.a'
    ]


def test_two_keys_for_one_lambda_function_are_one_function(faults: Faults) -> None:
    text = "".join(
        f"""
        [functions.{name}]
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:resize"
        [mappings.{name}]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
        function_name = "{name}"
        """
        for name in ("a", "b")
    )
    (fault,) = faults(text)
    assert fault.startswith("mappings.b: ")
    assert fault.endswith('and function (" b ") already exists. It is mappings.a')


def test_a_uuid_belongs_to_only_one_mapping(faults: Faults) -> None:
    text = "".join(
        f"""
        [mappings.{name}]
        event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:{name}"
        function_name = "f"
        uuid = "6d2d5a0e-6c0b-4b1e-9a49-0f4b8a1c7e55"
        """
        for name in ("a", "b")
    )
    (fault,) = faults(text)
    assert fault.endswith("is already the uuid of mappings.a")


def test_a_table_of_kcl_belongs_to_only_one_mapping_and_not_to_a_queue(faults: Faults) -> None:
    text = "".join(
        f"""
        [mappings.{name}]
        event_source_arn = "arn:aws:{source}"
        function_name = "f"
        kcl_table = "my-application"
        """
        + ("" if "sqs" in source else 'starting_position = "LATEST"\n')
        for name, source in {
            "a": "kinesis:eu-west-1:123456789012:stream/a",
            "b": "kinesis:eu-west-1:123456789012:stream/b",
            "q": "sqs:eu-west-1:123456789012:q",
        }.items()
    )
    queue, twice = sorted(faults(text), reverse=True)
    assert twice.endswith("is already the table of mappings.a")
    assert "kcl_table" in queue
    assert "not for an SQS queue" in queue


def with_state(state: str, options: str = "") -> str:
    return f"""
        [daemon]
        region = "eu-west-1"
        state = "{state}"
        [functions.f]
        url = "http://127.0.0.1:8080"
        [mappings.clicks]
        event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
        function_name = "f"
        starting_position = "LATEST"
        kcl_table = "leases"
        {options}
        """


@pytest.mark.parametrize("state", ["dynamodb://leases", "dynamodb://leases?region=eu-west-1"])
def test_the_table_of_the_state_is_not_a_table_of_kcl(faults: Faults, state: str) -> None:
    (fault,) = faults(with_state(state))
    assert fault == 'mappings.clicks.kcl_table = "leases": must not be the table of daemon.state'


@pytest.mark.parametrize(
    ("state", "options"),
    [
        ("dynamodb://leases?region=eu-west-3", ""),
        ("dynamodb://leases", 'role_arn = "arn:aws:iam::210987654321:role/reader"'),
        ("dynamodb://other", ""),
        ("sqlite://leases", ""),
    ],
)
def test_another_table_may_have_the_name_of_the_table_of_the_state(loaded: Load, state: str, options: str) -> None:
    assert loaded(with_state(state, options)).stream_mappings[0].kcl_table == "leases"
