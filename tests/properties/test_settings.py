"""Does any file lead to settings or to faults of one line each, and never to another error?"""

from __future__ import annotations

import datetime
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.errors import SettingsError
from poller.settings.api_request import with_mapping
from poller.settings.daemon import DaemonOptions
from poller.settings.environment import substitute
from poller.settings.functions import FunctionOptions
from poller.settings.loading import examine, load
from poller.settings.mappings import MappingOptions
from poller.settings.showing import effective_toml
from poller.settings.table import as_toml
from poller.settings.values import Settings

WORDS = [
    "first",
    "arn:aws:sqs:eu-west-1:123456789012:q",
    "arn:aws:sqs:eu-west-1:123456789012:q.fifo",
    "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
    "arn:aws:dynamodb:eu-west-1:123456789012:table/ttt/stream/2026",
    "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
    "http://127.0.0.1:8080",
    "LATEST",
    "AT_TIMESTAMP",
    "ReportBatchItemFailures",
    "a.b:c",
    "{}",
    '{"body": {"a": ["b"]}}',
    "${SET}",
    "${UNSET}",
    "${",
]
"""Texts that reach more code than random ones."""

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.sampled_from(WORDS)
    | text
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-1, 100)
    | st.floats()
    | st.booleans()
    | st.datetimes(timezones=st.sampled_from([None, datetime.UTC]))
)
nested_keys = text | st.sampled_from(
    ["filters", "pattern", "body", "maximum_concurrency", "on_failure", "destination_arn", "if_unreachable"]
)
nodes = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nested_keys, inner, max_size=3), max_leaves=8
)


def tables(model: type[DaemonOptions | FunctionOptions | MappingOptions]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(list(model.model_fields)) | text, nodes, max_size=6) | nodes


names = st.sampled_from(["first", "second", "url"]) | text
files = st.fixed_dictionaries(
    {},
    optional={
        "daemon": tables(DaemonOptions),
        "functions": st.dictionaries(names, tables(FunctionOptions), max_size=3) | nodes,
        "mappings": st.dictionaries(names, tables(MappingOptions), max_size=3) | nodes,
        "else": nodes,
    },
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "poller.toml"


@given(tree=files)
def test_any_file_is_valid_or_has_faults_of_one_line_each(file: Path, tree: dict[str, Any]) -> None:
    write(file, tree)
    faults: list[str] | None = None
    try:
        load(file, {"SET": "s3cret"})
    except SettingsError as error:
        faults = error.faults
    assert faults != []
    assert all("\n" not in fault and "s3cret" not in fault for fault in faults or ())


@given(tree=st.dictionaries(text, nodes, max_size=4))
@example(tree={"{  }": []})
def test_written_toml_means_the_value_that_it_was_made_from(tree: dict[str, Any]) -> None:
    assert same(tomllib.loads(f"root = {as_toml(tree)}")["root"], tree)


@given(tree=st.dictionaries(text, nodes, max_size=4))
def test_an_option_with_a_reference_to_the_environment_is_shown_as_it_was_written(tree: dict[str, Any]) -> None:
    substituted, _ = substitute(tree, {"SET": "s3cret"})
    assert as_toml(substituted) == as_toml(tree)


SOUND = {
    "event_source_arn": st.sampled_from([f"arn:aws:sqs:eu-west-1:123456789012:{name}" for name in ("a", "b", "c")]),
    "function_name": st.sampled_from(["first", "resize", "resize:live", "123456789012:function:resize"]),
}
SOUND_OPTIONS = {
    "enabled": st.booleans(),
    "batch_size": st.integers(1, 10),
    "maximum_batching_window_in_seconds": st.integers(0, 300),
    "function_response_types": st.sampled_from([[], ["ReportBatchItemFailures"]]),
    "scaling_config": st.sampled_from([{}, {"maximum_concurrency": 3}]),
    "filter_criteria": st.sampled_from([{}, {"filters": []}, {"filters": [{"pattern": {"body": {"a": ["${SET}"]}}}]}]),
    "region": st.just("eu-west-2"),
}


@given(mapping=st.fixed_dictionaries(SOUND, optional=SOUND_OPTIONS))
def test_the_effective_settings_mean_themselves(file: Path, mapping: dict[str, Any]) -> None:
    """The output of `poller check`, read as a file, has the same settings and the same output, except for comments."""
    environ = {"SET": "s3cret"}
    write(file, {"functions": {"first": {"url": "http://a"}}, "mappings": {"m": mapping}})
    first = examine(file, environ)
    file.write_text(effective_toml(first.settings, first.table))
    second = examine(file, environ)
    assert second.settings == first.settings
    assert plain(effective_toml(second.settings, second.table)) == plain(effective_toml(first.settings, first.table))


MEMBERS = {
    "event_source_arn": "EventSourceArn",
    "function_name": "FunctionName",
    "enabled": "Enabled",
    "batch_size": "BatchSize",
    "maximum_batching_window_in_seconds": "MaximumBatchingWindowInSeconds",
    "filter_criteria": "FilterCriteria",
    "filters": "Filters",
    "pattern": "Pattern",
    "function_response_types": "FunctionResponseTypes",
    "scaling_config": "ScalingConfig",
    "maximum_concurrency": "MaximumConcurrency",
    "starting_position": "StartingPosition",
    "starting_position_timestamp": "StartingPositionTimestamp",
    "parallelization_factor": "ParallelizationFactor",
    "maximum_retry_attempts": "MaximumRetryAttempts",
    "maximum_record_age_in_seconds": "MaximumRecordAgeInSeconds",
    "bisect_batch_on_function_error": "BisectBatchOnFunctionError",
    "tumbling_window_in_seconds": "TumblingWindowInSeconds",
    "destination_config": "DestinationConfig",
    "on_failure": "OnFailure",
    "destination_arn": "Destination",
}
"""AWS Lambda API Reference, "CreateEventSourceMapping"."""

plain_values = (
    st.sampled_from([word for word in WORDS if "$" not in word])
    | st.integers(-2, 100)
    | st.integers(0, 20_000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.lists(st.sampled_from(["ReportBatchItemFailures", 1]), max_size=2)
)
patterns = st.fixed_dictionaries({"pattern": plain_values})
INNER = {
    "scaling_config": st.fixed_dictionaries({}, optional={"maximum_concurrency": plain_values}),
    "filter_criteria": st.fixed_dictionaries({}, optional={"filters": st.lists(patterns, max_size=3) | plain_values}),
    "destination_config": st.fixed_dictionaries(
        {}, optional={"on_failure": st.fixed_dictionaries({}, optional={"destination_arn": plain_values})}
    ),
}
mappings = st.fixed_dictionaries(
    {},
    optional={
        option: INNER.get(option, plain_values) | plain_values
        for option in MEMBERS
        if option in MappingOptions.model_fields
    },
)


@given(mapping=mappings, sound=st.fixed_dictionaries({}, optional=SOUND | {"starting_position": st.just("LATEST")}))
def test_a_request_means_what_the_same_table_of_a_file_means(
    file: Path, mapping: dict[str, Any], sound: dict[str, Any]
) -> None:
    mapping = mapping | sound
    functions = {"functions": {"first": {"url": "http://a"}}}
    write(file, functions)
    settings = load(file, {})
    write(file, functions | {"mappings": {"m": mapping}})
    of_file = _mappings_or_faults(lambda: load(file, {}))
    of_request = _mappings_or_faults(lambda: with_mapping(settings, "m", _request(mapping), {}))
    assert of_request == [_in_request(one) if isinstance(one, str) else one for one in of_file]


def _mappings_or_faults(make: Callable[[], Settings]) -> list[Any]:
    try:
        return list(make().mappings)
    except SettingsError as error:
        return error.faults


def _request(node: Any) -> Any:
    if isinstance(node, dict):
        return {MEMBERS[key]: _request(value) for key, value in node.items()}
    return [_request(item) for item in node] if isinstance(node, list) else node


def _in_request(fault: str) -> str:
    """Return the same fault with the names of the request's members in its path and in its value."""
    found = re.fullmatch(r"mappings\.m\.?([a-z_.0-9\[\]]*)(.*)", fault, flags=re.DOTALL)
    assert found is not None
    path, rest = found.groups()
    if not path:
        return str(rest).removeprefix(": ")
    return _renamed(r"[a-z_]+", path) + _renamed(r"[a-z_]+(?= = )", rest)


def _renamed(words: str, text: str) -> str:
    return re.sub(words, lambda word: MEMBERS[word[0]], text)


def write(file: Path, tree: dict[str, Any]) -> None:
    file.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in tree.items()))


def plain(toml: str) -> list[str]:
    return [line.partition("  # ")[0].rstrip() for line in toml.splitlines()]


def same(one: Any, other: Any) -> bool:
    """Return whether the values are equal and of one type; NaN equals NaN."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
