"""Which settings are allowed, but probably a mistake?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.settings.values import Settings

MAPPING = """
    [mappings.m]
    event_source_arn = "arn:aws:sqs:eu-west-1:123456789012:q"
"""
STREAM = """
    [mappings.m]
    event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
    function_name = "f"
    starting_position = "LATEST"
    destination_config.on_failure.destination_arn = "arn:aws:s3:::failures"
"""
CONSUMER = """
    [mappings.again]
    event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/consumer/me:1700000000"
    function_name = "f"
    starting_position = "LATEST"
"""
FUNCTION = '[functions.insert_records]\nurl = "http://a"\nreserved_concurrency = 4\n'
EMULATOR = '[functions.insert_records]\nurl = "http://a/2015-03-31/functions/function/invocations"\n'
QUEUE = 'event_invoke_config.event_queue_arn = "arn:aws:sqs:eu-west-1:123456789012:events"\n'
RECORDS = 'event_invoke_config.destination_config.on_success.destination = "insert_records"\n'
WITH_TOKEN = '[daemon]\nhttp_listen = "h:80"\nadmin_token = "%s"\n'
RETRIES = "event_invoke_config.maximum_retry_attempts = 0\n"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (f'{MAPPING}function_name = "insert_records"\n{FUNCTION}', None),
        (f'{MAPPING}function_name = "resize"', None),
        (FUNCTION, "functions.insert_records: no mapping uses it"),
        (f'{MAPPING}function_name = "resize"\n{FUNCTION}{QUEUE}', None),
        (f'{MAPPING}function_name = "resize"\n{FUNCTION}[functions.store]\nurl = "http://b"\n{QUEUE}{RECORDS}', None),
        (f'[daemon]\napi_listen = "127.0.0.1:9465"\n{MAPPING}function_name = "resize"\n{FUNCTION}', None),
        (
            f'[daemon]\nstate = "memory:"\n{MAPPING}function_name = "insert_records"\n{FUNCTION}{RETRIES}',
            'functions.insert_records.event_invoke_config: is never used, because state is "memory:" and '
            "event_queue names no file",
        ),
        (
            f'[daemon]\nstate = "memory:"\nevent_queue = "sqlite://e.db"\n'
            f'{MAPPING}function_name = "insert_records"\n{FUNCTION}{RETRIES}',
            None,
        ),
        (
            f'{MAPPING}function_name = "insert_record"\n{FUNCTION}',
            'mappings.m.function_name = "insert_record": means a function of AWS Lambda, '
            "because [functions] has no such key; did you mean insert_records?",
        ),
        (
            f'{MAPPING}function_name = "insert_records"\nscaling_config.maximum_concurrency = 5\n{FUNCTION}',
            "mappings.m.scaling_config.maximum_concurrency = 5: is never reached, "
            "because the function's reserved_concurrency is 4",
        ),
        (f'{MAPPING}function_name = "insert_records"\nscaling_config.maximum_concurrency = 4\n{FUNCTION}', None),
        (
            f'{MAPPING}function_name = "insert_records"\n{EMULATOR}reserved_concurrency = 2\n',
            "functions.insert_records.reserved_concurrency = 2: is never reached, "
            "because an emulator takes one call at a time",
        ),
        (f'{MAPPING}function_name = "insert_records"\n{EMULATOR}reserved_concurrency = 1\n', None),
        (
            f'{MAPPING}function_name = "resize"\nregion = "eu-west-2"',
            'mappings.m.region = "eu-west-2": is not the region in event_source_arn, where AWS would look',
        ),
        (f'{MAPPING}function_name = "resize"\nregion = "eu-west-1"', None),
        (
            f"""{MAPPING}function_name = "resize"\nfilter_criteria.filters = [{{ pattern.messageId = ["a"] }}]""",
            "mappings.m.filter_criteria.filters[0].pattern: AWS promises to filter this source by body only, "
            "but poller also filters by messageId",
        ),
        (
            f"""{MAPPING}function_name = "resize"\nfilter_criteria.filters = [{{ pattern.body.a = ["a"] }}]""",
            None,
        ),
        (
            STREAM,
            "mappings.m.destination_config: gets only what a person discards, "
            "because neither maximum_retry_attempts nor maximum_record_age_in_seconds is limited",
        ),
        (f"{STREAM}maximum_retry_attempts = 0", None),
        (
            f'{MAPPING}function_name = "f"\n[functions.f]\nurls = ["http://a", "http://b", "http://a"]',
            "functions.f.urls[2]: is the same as urls[0]",
        ),
        (f"{STREAM}maximum_record_age_in_seconds = 60", None),
        (
            f"{STREAM}maximum_retry_attempts = 0\n{CONSUMER}",
            "mappings.again: its function gets each record twice, because mappings.m reads the same stream for it",
        ),
        (f"{STREAM}maximum_retry_attempts = 0\nenabled = false\n{CONSUMER}", None),
        (
            f'{WITH_TOKEN % "0123456789abcde"}{MAPPING}function_name = "resize"',
            "daemon.admin_token: has fewer than 16 characters, so a stranger may guess it",
        ),
        (f'{WITH_TOKEN % "0123456789abcdef"}{MAPPING}function_name = "resize"', None),
    ],
)
def test_a_probable_mistake_causes_a_warning(loaded: Callable[..., Settings], text: str, warning: str | None) -> None:
    warnings = loaded(text).warnings
    assert warning in warnings if warning else warnings == ()


@pytest.mark.parametrize(
    ("arn", "key"),
    [
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/s", "partitionKey"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026", "eventID"),
    ],
)
def test_a_filter_on_an_undocumented_metadata_key_causes_a_warning(
    loaded: Callable[..., Settings], arn: str, key: str
) -> None:
    (warning,) = loaded(f"""
        [mappings.m]
        event_source_arn = "{arn}"
        function_name = "f"
        starting_position = "LATEST"
        filter_criteria.filters = [{{ pattern.{key} = ["a"] }}]
    """).warnings
    assert warning.endswith(f"but poller also filters by {key}")


@pytest.mark.parametrize(
    ("pattern", "warnings"),
    [
        ("{ eventName = ['INSERT'] }", ()),
        (
            "{ dynamodb.NewImage.salary.N = [{ numeric = ['>', 5] }] }",
            (
                "mappings.m.filter_criteria.filters[0].pattern: no record matches it: dynamodb.NewImage.salary.N "
                'is text, because DynamoDB writes numbers as text: a number or "numeric" never matches',
            ),
        ),
    ],
)
def test_a_pattern_for_dynamodb_causes_a_warning_only_if_no_record_can_match_it(
    loaded: Callable[..., Settings], pattern: str, warnings: tuple[str, ...]
) -> None:
    settings = loaded(f"""
        [mappings.m]
        event_source_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026"
        function_name = "f"
        starting_position = "LATEST"
        filter_criteria.filters = [{{ pattern = {pattern} }}]
    """)
    assert settings.warnings == warnings


@pytest.mark.parametrize(
    ("arn", "data_key"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:q", "body"),
        ("arn:aws:kinesis:eu-west-1:123456789012:stream/s", "data"),
        ("arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026", "dynamodb"),
    ],
)
def test_each_source_has_its_own_key_to_filter_by(loaded: Callable[..., Settings], arn: str, data_key: str) -> None:
    position = "" if ":sqs:" in arn else 'starting_position = "LATEST"'
    patterns = ", ".join(f"{{ pattern.{key}.Keys.a.S = ['b'] }}" for key in ("body", "data", "dynamodb"))
    settings = loaded(f"""
        [mappings.m]
        event_source_arn = "{arn}"
        function_name = "f"
        {position}
        filter_criteria.filters = [{patterns}]
    """)
    assert [warning.partition(": ")[2] for warning in settings.warnings] == [
        f"no record of this source has {other}; its data are under {data_key}"
        for other in ("body", "data", "dynamodb")
        if other != data_key
    ]


@pytest.mark.parametrize(
    ("text", "has_nothing_to_do"),
    [
        (FUNCTION, True),
        ('[daemon]\napi_listen = "127.0.0.1:9465"', True),
        (f'[daemon]\napi_listen = "127.0.0.1:9465"\n{FUNCTION}', False),
        (f"{FUNCTION}{QUEUE}", False),
    ],
)
def test_functions_need_no_mapping_if_others_can_invoke_them(
    loaded: Callable[..., Settings], text: str, has_nothing_to_do: bool
) -> None:
    nothing = "mappings: there are none, so there is nothing to do"
    assert (nothing in loaded(text).warnings) == has_nothing_to_do
