"""What does an editor need to know of the file?"""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from poller.settings.schema import json_schema
from poller.settings.table import ABSENT, find

EXAMPLE = Path(__file__).parents[3] / "config" / "poller.toml"


def as_json(node: Any) -> Any:
    """Return the TOML as an editor passes it to a JSON Schema: date-times are texts."""
    if isinstance(node, dict):
        return {key: as_json(value) for key, value in node.items()}
    if isinstance(node, list):
        return [as_json(value) for value in node]
    return node.isoformat() if isinstance(node, datetime.datetime) else node


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(json_schema())
    return jsonschema.Draft7Validator(json_schema())


def accepts(validator: jsonschema.Draft7Validator, text: str) -> bool:
    return bool(validator.is_valid(as_json(tomllib.loads(text))))


MAPPING = '[mappings.m]\nevent_source_arn = "a"\nfunction_name = "f"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        EXAMPLE.read_text(),
        f'{MAPPING}batch_size = "${{SIZE}}"\nenabled = "${{ENABLED}}"',
        f'{MAPPING}batch_size = "${{SIZE:-10}}"\nenabled = "${{ENABLED:-true}}"',
        f"{MAPPING}maximum_retry_attempts = -1\nmaximum_record_age_in_seconds = -1",
        f"{MAPPING}filter_criteria.filters = [{{ pattern = '{{}}' }}, {{ pattern = {{ body = {{}} }} }}]",
    ],
)
def test_the_schema_accepts_valid_settings(validator: jsonschema.Draft7Validator, text: str) -> None:
    assert accepts(validator, text)


@pytest.mark.parametrize(
    "text",
    [
        "[daemn]",
        "[daemon]\nregoin = 'a'",
        "[daemon]\nlog_format = 'xml'",
        "[daemon]\nendpoints = { lamda = 'http://a' }",
        "[functions.f]",
        "[functions.f]\nurl = 'http://a'\nhandler = 'a:b'",
        "[functions.'a b']\nurl = 'http://a'",
        "[mappings.m]",
        f"{MAPPING}batch_size = 0",
        f"{MAPPING}batch_size = 10001",
        f"{MAPPING}batch_size = '100'",
        f"{MAPPING}maximum_record_age_in_seconds = 59",
        f"{MAPPING}enabled = 'yes'",
        f"{MAPPING}starting_position = 'OLDEST'",
        f"{MAPPING}filter_criteria.filters = [{{}}]",
    ],
)
def test_the_schema_refuses_invalid_values(validator: jsonschema.Draft7Validator, text: str) -> None:
    assert not accepts(validator, text)


def test_every_option_is_described() -> None:
    for name, table in json_schema()["$defs"].items():
        for option, its_schema in table["properties"].items():
            assert its_schema.get("description"), f"{name}.{option}"


def test_the_schema_allows_no_null() -> None:
    """TOML has no null."""
    assert "null" not in str(json_schema())
    assert find(json_schema(), ("$defs", "MappingOptions", "properties", "batch_size", "default")) is ABSENT
