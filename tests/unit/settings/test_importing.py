"""How do event source mappings of AWS Lambda become a settings file?"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poller.model.ids import FunctionName
from poller.model.stream import AtTimestamp
from poller.settings.importing import Account, LambdaFunction, imported
from poller.settings.loading import load
from poller.settings.permissions import permissions
from poller.settings.values import Settings

PLACE = "eu-west-1:123456789012"
INSERT = f"arn:aws:lambda:{PLACE}:function:insert"
QUEUE = f"arn:aws:sqs:{PLACE}:orders"
STREAM = f"arn:aws:kinesis:{PLACE}:stream/clicks"
TABLE = f"arn:aws:dynamodb:{PLACE}:table/users/stream/2026-01-31T12:00:00.000"
UUID = "d5f0a3b2-1111-4222-8333-444455556666"


def listed(source: str, **members: Any) -> dict[str, Any]:
    """Return an item of ListEventSourceMappings, with the members that AWS always sends."""
    always = {
        "UUID": UUID,
        "EventSourceMappingArn": f"arn:aws:lambda:{PLACE}:event-source-mapping:{UUID}",
        "EventSourceArn": source,
        "FunctionArn": INSERT,
        "LastModified": datetime(2026, 1, 1, tzinfo=UTC),
        "State": "Enabled",
        "StateTransitionReason": "USER_INITIATED",
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
    }
    return always | members


KINESIS = listed(
    STREAM,
    BatchSize=100,
    StartingPosition="AT_TIMESTAMP",
    StartingPositionTimestamp=datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC),
    ParallelizationFactor=1,
    MaximumRecordAgeInSeconds=-1,
    MaximumRetryAttempts=-1,
    BisectBatchOnFunctionError=False,
    TumblingWindowInSeconds=0,
    DestinationConfig={"OnFailure": {}},
    LastProcessingResult="No records processed",
)
FUNCTION = LambdaFunction(configuration={"Timeout": 20, "Handler": "index.handler", "Runtime": "nodejs22.x"})


def text_of(*mappings: dict[str, Any], function: LambdaFunction | None = FUNCTION, visibility: int = 300) -> str:
    functions = {} if function is None else {str(one["FunctionArn"]): function for one in mappings}
    account = Account(
        region="eu-west-1", mappings=mappings, functions=functions, visibility_timeouts={QUEUE: visibility}
    )
    return imported(account).toml


def settings_of(folder: Path, *mappings: dict[str, Any], function: LambdaFunction | None = FUNCTION) -> Settings:
    file = folder / "poller.toml"
    file.write_text(text_of(*mappings, function=function))
    return load(file, {})


def test_values_that_are_the_default_are_not_printed() -> None:
    text = text_of(KINESIS)
    table = text.partition("[mappings.clicks_to_insert]\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [
        f'event_source_arn = "{STREAM}"',
        'function_name = "insert"',
        "enabled = false",
        "batch_size = 100",
        'starting_position = "AT_TIMESTAMP"',
        "starting_position_timestamp = 1700000000.5",
        f'uuid = "{UUID}"',
    ]


def test_a_starting_time_keeps_its_fractions(tmp_path: Path) -> None:
    [mapping] = settings_of(tmp_path, KINESIS).stream_mappings
    assert mapping.starting_position == AtTimestamp(1_700_000_000.5)


def test_a_tumbling_window_comes_back(tmp_path: Path) -> None:
    [mapping] = settings_of(tmp_path, KINESIS | {"TumblingWindowInSeconds": 60}).stream_mappings
    assert mapping.tumbling_window_in_seconds == 60


def test_mappings_with_the_same_names_get_numbers(tmp_path: Path) -> None:
    other = INSERT.replace("123456789012", "999999999999")
    found = settings_of(
        tmp_path,
        listed(QUEUE),
        listed(QUEUE, FunctionArn=f"{INSERT}:live", UUID=UUID.replace("1111", "2222")),
        listed(QUEUE, FunctionArn=other, UUID=UUID.replace("1111", "3333")),
    )
    assert [(mapping.name, mapping.function_name) for mapping in found.queue_mappings] == [
        ("orders_to_insert", "insert"),
        ("orders_to_insert_live", "insert_live"),
        ("orders_to_insert_2", "insert_2"),
    ]
    assert str(found.functions[FunctionName("insert_2")].arn) == other


def test_mappings_of_one_function_share_its_table(tmp_path: Path) -> None:
    found = settings_of(tmp_path, listed(QUEUE), KINESIS | {"UUID": UUID.replace("1111", "2222")})
    assert list(found.functions) == ["insert"]


def test_a_source_that_poller_does_not_read_is_named_in_a_comment(tmp_path: Path) -> None:
    kafka = f"arn:aws:kafka:{PLACE}:cluster/c/1"
    text = text_of(listed(kafka), listed(QUEUE), {**listed(QUEUE), "EventSourceArn": None})
    assert f"# Not imported: the mapping {UUID} from {kafka} to {INSERT}." in text
    assert f"# Not imported: the mapping {UUID} from a source outside of AWS to {INSERT}." in text
    assert text.count("\n[mappings.") == 1


@pytest.mark.parametrize(
    ("members", "remark"),
    [
        ({"State": "Disabled"}, "# It is disabled on AWS, too."),
        (
            {"ProvisionedPollerConfig": {"MinimumPollers": 2}},
            '# AWS also has ProvisionedPollerConfig = {"MinimumPollers": 2}; poller has no such option.',
        ),
        (
            {"KMSKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1"},
            "# Its filters are encrypted with that key, and AWS did not show them: add filter_criteria.",
        ),
        (
            {"MaximumBatchingWindowInSeconds": 290},
            "# The queue's visibility timeout is 300 s, but a batch may take 310 s: "
            "poller hides the messages again while it needs them.",
        ),
    ],
)
def test_a_comment_says_what_differs_from_aws(members: dict[str, Any], remark: str) -> None:
    assert remark in text_of(listed(QUEUE, **members)).splitlines()
    assert remark not in text_of(listed(QUEUE)).splitlines()


def test_an_unset_member_needs_no_comment() -> None:
    assert "AWS also has" not in text_of(listed(QUEUE, MetricsConfig={}, KMSKeyArn="", Queues=[], Topics=None))


def test_a_consumer_with_enhanced_fan_out_is_polled() -> None:
    consumer = {**KINESIS, "EventSourceArn": f"{STREAM}/consumer/mine:1"}
    assert "# AWS reads this consumer by enhanced fan-out; poller polls the stream" in text_of(consumer)


def test_a_function_that_aws_does_not_describe_is_imported_by_its_arn(tmp_path: Path) -> None:
    found = settings_of(tmp_path, listed(QUEUE), function=None)
    assert str(found.functions[FunctionName("insert")].arn) == INSERT


@pytest.mark.parametrize(
    ("runtime", "handler", "line"),
    [
        ("python3.12", "app/main.handle", '#   handler = "app.main:handle"   # python3.12'),
        (
            "nodejs22.x",
            "index.handler",
            "#   command = [...]   # a program that speaks the Lambda Runtime API; here nodejs22.x runs index.handler",
        ),
    ],
)
def test_a_comment_says_how_to_run_the_function_elsewhere(runtime: str, handler: str, line: str) -> None:
    function = LambdaFunction(configuration={"Timeout": 3, "Handler": handler, "Runtime": runtime, "MemorySize": 256})
    lines = text_of(listed(QUEUE), function=function).splitlines()
    assert line in lines
    assert "#   memory_size_in_mb = 256" in lines


def test_no_value_of_an_environment_variable_is_printed() -> None:
    configuration = {"Timeout": 3, "Handler": "a.b", "Environment": {"Variables": {"B": "s3cret", "A": "hidden"}}}
    text = text_of(listed(QUEUE), function=LambdaFunction(configuration=configuration))
    assert "its variables: A, B" in text
    assert "s3cret" not in text
    assert "hidden" not in text


def test_each_mapping_has_a_plan(tmp_path: Path) -> None:
    table = {**KINESIS, "EventSourceArn": TABLE, "StartingPosition": "LATEST"}
    text = text_of(listed(QUEUE), KINESIS, table)
    plan = text.partition("# PLAN\n")[2]
    assert all(line.startswith("#") for line in plan.splitlines() if line)
    queue, kinesis, dynamodb = plan.split("\n\n")[1:]
    assert f"--uuid {UUID} --no-enabled" in queue
    assert "poller state set" not in queue
    assert "poller state set clicks_to_insert $((" in kinesis
    assert "AT_TIMESTAMP" in kinesis.partition("To go back")[2]
    assert "poller state set users_to_insert $((" in dynamodb
    assert "cannot begin at a time" in dynamodb.partition("To go back")[2]


NOW = 1_700_000_000
STAND_INS = f"""
aws() {{ echo "aws $*"; }}
poller() {{ echo "poller $*"; }}
date() {{ echo {NOW}; }}
"""
"""The programs of a plan. They print how they were called."""


def calls_of_plan(text: str, *, age: str) -> list[str]:
    """Run the plan's commands in bash, as a person does who read this iterator age. Return the calls that they made."""
    lines = "\n".join(line.removeprefix("#").strip() for line in text.partition("# PLAN\n")[2].splitlines())
    joined = lines.replace("\\\n", "").replace("1. T=", "T=")
    commands = re.findall(r"^(?:T=\$\(date|T=\d|for |done$|aws |poller state set ).*", joined, re.MULTILINE)
    script = "\n".join([STAND_INS, *commands[:-1], f"A={age}", commands[-1]])
    ended = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.stderr == ""
    return ended.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("age", "window", "tumbling", "timeout", "position"),
    [
        ("0.0", 0, 0, 3, NOW - 126),
        ("1234.0", 0, 0, 3, NOW - 1 - 126),
        ("59999.5", 0, 0, 3, NOW - 59 - 126),
        ("1234", 300, 0, 60, NOW - 1 - 540),
        ("0.0", 0, 0, None, NOW - 1920),
        ("100000.0", 0, 60, 3, 1_699_999_560),
    ],
)
def test_the_plan_of_a_stream_begins_before_each_record_that_aws_may_not_have_delivered(
    age: str, window: int, tumbling: int, timeout: int | None, position: int
) -> None:
    """A batch is gathered for the batching window, and two are invoked, in the seconds for which the age is read."""
    mapping = KINESIS | {"MaximumBatchingWindowInSeconds": window, "TumblingWindowInSeconds": tumbling}
    function = None if timeout is None else LambdaFunction(configuration={"Timeout": timeout})
    calls = calls_of_plan(text_of(mapping, function=function), age=age)
    assert calls[-1] == f"poller state set clicks_to_insert {position}"
    margin = 120 + window + 2 * (timeout or 900) + (tumbling + 120 if tumbling else 0)
    metrics = calls[2:-1]
    assert [call.partition("--metric-name ")[2].split()[0] for call in metrics] == [
        "IteratorAge",
        "Errors",
        "Throttles",
    ]
    assert all(f"--start-time {NOW - margin - 60} --end-time {NOW + 60} " in call for call in metrics)


@pytest.mark.slow
def test_the_plan_of_a_disabled_mapping_begins_before_it_was_disabled() -> None:
    """AWS delivered nothing since then. The function's metrics may have values of later times, of other mappings."""
    disabled = KINESIS | {"State": "Disabled", "LastModified": datetime.fromtimestamp(NOW - 86_400.5, UTC)}
    calls = calls_of_plan(text_of(disabled, function=None), age="1000.0")
    assert not [call for call in calls if "update-event-source-mapping" in call]
    assert calls[-1] == f"poller state set clicks_to_insert {NOW - 86_401 - 1 - 1920}"


@pytest.mark.slow
def test_a_mapping_with_tumbling_windows_begins_at_the_start_of_a_window() -> None:
    calls = calls_of_plan(text_of(KINESIS | {"TumblingWindowInSeconds": 300}), age="7000.0")
    position = int(calls[-1].split()[-1])
    assert position % 300 == 0
    assert position <= NOW - 7 - 120 - 300
    assert "is not taken over" in text_of(KINESIS | {"TumblingWindowInSeconds": 300})
    assert "tumbling" not in text_of(KINESIS)


@pytest.mark.parametrize("source", [QUEUE, STREAM, TABLE])
def test_each_command_of_aws_in_a_plan_names_the_region(source: str) -> None:
    plan = text_of(KINESIS | {"EventSourceArn": source}).partition("# PLAN")[2]
    commands = [line for line in plan.splitlines() if re.search(r"\baws [a-z]+ [a-z]", line)]
    assert commands
    assert all(" --region eu-west-1 " in line for line in commands)


def test_filters_come_back_as_they_were_written(tmp_path: Path) -> None:
    pattern = json.dumps({"body": {"kind": ['sign"up', "é"], "n": [{"numeric": [">", 1.5]}]}})
    [mapping] = settings_of(tmp_path, listed(QUEUE, FilterCriteria={"Filters": [{"Pattern": pattern}]})).queue_mappings
    assert mapping.filters == (pattern,)


@pytest.mark.parametrize("text", ["${HOME}", "$${HOME}", "${", "$"])
def test_a_filter_of_aws_gets_no_value_from_the_environment(tmp_path: Path, text: str) -> None:
    pattern = json.dumps({"body": {"template": [text]}})
    (tmp_path / "poller.toml").write_text(text_of(listed(QUEUE, FilterCriteria={"Filters": [{"Pattern": pattern}]})))
    [mapping] = load(tmp_path / "poller.toml", {"HOME": "/root"}).queue_mappings
    assert mapping.filters == (pattern,)


ODD = 'a\n[x]\rb\x7f\u2028"c; rm'


@pytest.mark.parametrize(
    ("mapping", "configuration"),
    [
        (listed(QUEUE, UUID=ODD), {}),
        ({**KINESIS, "FunctionArn": f"{INSERT}{ODD}"}, {}),
        (listed(f"arn:aws:kafka:{PLACE}:cluster/{ODD}"), {}),
        (listed(QUEUE, ProvisionedPollerConfig={"PollerGroupName": ODD}), {}),
        (listed(QUEUE), {"Handler": ODD, "Runtime": "python3.12"}),
        (listed(QUEUE), {"Handler": "a.b", "Runtime": ODD}),
        (listed(QUEUE), {"Handler": "a.b", "Environment": {"Variables": {ODD: "1"}}}),
    ],
)
def test_no_value_of_aws_can_end_the_comment_that_shows_it(
    mapping: dict[str, Any], configuration: dict[str, Any]
) -> None:
    text = text_of(mapping, function=LambdaFunction(configuration=configuration))
    assert tomllib.loads(text).keys() <= {"daemon", "functions", "mappings"}
    assert all(line.isprintable() for line in text.split("\n") if line.startswith("#"))


def test_a_command_of_the_plan_quotes_what_aws_tells() -> None:
    assert "--uuid 'u; rm' --no-enabled" in text_of(listed(QUEUE, UUID="u; rm"))
    assert "Value='f; rm' " in text_of({**KINESIS, "FunctionArn": f"arn:aws:lambda:{PLACE}:function:f; rm"})


def test_the_plan_says_how_to_print_the_permissions_of_all_mappings(tmp_path: Path) -> None:
    text = text_of(listed(QUEUE), KINESIS | {"UUID": UUID.replace("d", "e")})
    [(line, enabled)] = re.findall(r"^#   sed 's/(.*)/(.*)/' poller.toml > enabled.toml$", text, re.MULTILINE)
    (tmp_path / "enabled.toml").write_text(re.sub(line, enabled, text, flags=re.MULTILINE))
    needed = permissions(load(tmp_path / "enabled.toml", {}))
    assert {QUEUE, STREAM} <= {arn for statement in needed[None] for arn in statement.resources}
    assert "poller iam -c enabled.toml" in text
