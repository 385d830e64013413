"""Does `poller import` bring every option that AWS has, by its name? A new option needs a line here.

An account has one mapping for each option of a mapping. AWS's own client makes the mappings, so it checks the names and
the types of the requests. The whole command reads them, and its file is loaded.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from poller.cli import app
from poller.model.ids import FunctionName
from poller.model.stream import AtTimestamp
from poller.settings.event_options import EventInvokeConfigOptions
from poller.settings.loading import load
from poller.settings.mappings import MappingOptions
from poller.settings.options import api_name, declaration, leaves
from poller.settings.table import find
from poller.settings.values import Settings
from tests.fakes.lambda_account import ACCOUNT, REGION, lambda_account

BODY = json.dumps({"body": {"kind": ["signup"]}})
FAILURES = f"arn:aws:sqs:{REGION}:{ACCOUNT}:failures"
NOON = 1_769_860_800.5


class Example(NamedTuple):
    """A mapping of AWS that has the option. `request` are its members, and `value` is that of the file."""

    service: str
    request: Mapping[str, Any]
    value: Any


EXAMPLES = {
    "batch_size": Example("sqs", {"BatchSize": 7}, 7),
    "maximum_batching_window_in_seconds": Example("sqs", {"MaximumBatchingWindowInSeconds": 5}, 5),
    "filter_criteria.filters": Example(
        "sqs", {"FilterCriteria": {"Filters": [{"Pattern": BODY}]}}, [{"pattern": BODY}]
    ),
    "function_response_types": Example(
        "sqs", {"FunctionResponseTypes": ["ReportBatchItemFailures"]}, ["ReportBatchItemFailures"]
    ),
    "scaling_config.maximum_concurrency": Example("sqs", {"ScalingConfig": {"MaximumConcurrency": 9}}, 9),
    "starting_position": Example("dynamodb", {"StartingPosition": "TRIM_HORIZON"}, "TRIM_HORIZON"),
    "starting_position_timestamp": Example(
        "kinesis", {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": NOON}, NOON
    ),
    "parallelization_factor": Example("kinesis", {"ParallelizationFactor": 4}, 4),
    "maximum_retry_attempts": Example("kinesis", {"MaximumRetryAttempts": 0}, 0),
    "maximum_record_age_in_seconds": Example("dynamodb", {"MaximumRecordAgeInSeconds": 3600}, 3600),
    "bisect_batch_on_function_error": Example("kinesis", {"BisectBatchOnFunctionError": True}, True),
    "tumbling_window_in_seconds": Example("kinesis", {"TumblingWindowInSeconds": 60}, 60),
    "destination_config.on_failure.destination_arn": Example(
        "dynamodb", {"DestinationConfig": {"OnFailure": {"Destination": FAILURES}}}, FAILURES
    ),
}
ALWAYS = {"event_source_arn", "function_name", "enabled"}
"""Each mapping has these: `enabled` is false in the file, so that a first start of the daemon reads nothing."""

EVENT_REQUEST = {
    "MaximumRetryAttempts": 1,
    "MaximumEventAgeInSeconds": 120,
    "DestinationConfig": {"OnSuccess": {"Destination": f"{FAILURES}-not"}, "OnFailure": {"Destination": FAILURES}},
}
EVENT_VALUES = {
    "maximum_retry_attempts": 1,
    "maximum_event_age_in_seconds": 120,
    "destination_config.on_success.destination": f"{FAILURES}-not",
    "destination_config.on_failure.destination": FAILURES,
}
DEAD = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
SOURCES = {
    "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "kinesis": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{{}}",
    "dynamodb": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{}}/stream/2026-01-01T00:00:00.000",
}


class Imported(NamedTuple):
    """The imported file, as a table and as settings."""

    table: Mapping[str, Any]
    settings: Settings


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    file = tmp_path_factory.mktemp("imported") / "poller.toml"
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    with lambda_account() as account:
        account.create_function("f", Timeout=45, DeadLetterConfig={"TargetArn": DEAD})
        account.concurrency["f"] = 6
        client = account.client("lambda")
        client.put_function_event_invoke_config(FunctionName=account.functions["f"]["FunctionArn"], **EVENT_REQUEST)
        for option, example in EXAMPLES.items():
            begins = {} if example.service == "sqs" else {"StartingPosition": "LATEST"}
            client.create_event_source_mapping(
                FunctionName="f",
                EventSourceArn=SOURCES[example.service].format(source_name(option)),
                **begins | {**example.request},
            )
        done = CliRunner().invoke(app, ["import", "--region", REGION, "--endpoint-url", account.url], env=keys)
    assert (done.exit_code, done.stderr) == (0, "")
    file.write_text(done.stdout)
    return Imported(tomllib.loads(done.stdout), load(file, {}))


def source_name(option: str) -> str:
    return option.replace(".", "_")


def options_of_aws(model: type[BaseModel]) -> set[str]:
    """Return the options that AWS has, too, each with the names of its tables before it."""
    return {
        ".".join(option)
        for option in leaves(model)
        if all(api_name(option[end - 1], declaration(model, option[:end])) for end in range(1, len(option) + 1))
    }


def test_every_option_of_aws_has_an_example() -> None:
    assert EXAMPLES.keys() | ALWAYS == options_of_aws(MappingOptions)
    assert EVENT_VALUES.keys() == options_of_aws(EventInvokeConfigOptions)


@pytest.mark.parametrize("option", EXAMPLES)
def test_an_option_of_a_mapping_comes_back(imported: Imported, option: str) -> None:
    found = imported.table["mappings"][f"{source_name(option)}_to_f"]
    example = EXAMPLES[option]
    assert find(found, tuple(option.split("."))) == example.value
    assert found["event_source_arn"] == SOURCES[example.service].format(source_name(option))
    assert (found["function_name"], found["enabled"]) == ("f", False)
    begins = set() if example.service == "sqs" else {"starting_position"}
    given = {name for name in found if name not in ("uuid", "batch_size")} - ALWAYS - begins
    assert given <= {option.partition(".")[0]}, "no other option is printed"


def test_the_daemon_would_begin_at_the_time_of_the_mapping(imported: Imported) -> None:
    (mapping,) = (one for one in imported.settings.stream_mappings if "timestamp" in one.name)
    assert mapping.starting_position == AtTimestamp(NOON)


@pytest.mark.parametrize("option", EVENT_VALUES)
def test_an_option_of_asynchronous_events_comes_back(imported: Imported, option: str) -> None:
    table = imported.table["functions"]["f"]["event_invoke_config"]
    assert find(table, tuple(option.split("."))) == EVENT_VALUES[option]


def test_the_function_comes_back(imported: Imported) -> None:
    function = imported.settings.functions[FunctionName("f")]
    assert str(function.arn) == f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
    assert (function.timeout_in_seconds, function.reserved_concurrency) == (45, 6)
    assert str(function.event_invoke_config.dead_letter_arn) == DEAD
