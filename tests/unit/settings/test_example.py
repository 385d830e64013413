"""Is config/poller.toml valid, and does it explain every option?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from poller.errors import SettingsError
from poller.settings.functions import KINDS
from poller.settings.loading import load
from poller.settings.options import Options, Range, declaration, leaves, marker
from poller.settings.table import as_toml
from poller.settings.values import Settings
from tests.unit.settings.explained import EXAMPLE, MODELS, explained, firsts

ENVIRON = {"DATABASE_PASSWORD": "a", "NOTIFY_TOKEN": "b", "POLLER_ADMIN_TOKEN": "c" * 16, "POLLER_API_SECRET": "d"}
ESSENTIAL = {*KINDS, "event_source_arn", "function_name", "starting_position", "starting_position_timestamp"}
OPTIONS = [(model, option) for model in MODELS.values() for option in leaves(model) if option[0] not in ESSENTIAL]
"""The options that may be left out."""


def test_the_example_is_valid_and_needs_no_advice() -> None:
    settings = load(EXAMPLE, ENVIRON)
    assert len(settings.queue_mappings) == 3
    assert len(settings.stream_mappings) == 2
    assert settings.warnings == ()


def test_the_example_shows_and_explains_every_option_as_it_is_declared() -> None:
    text = EXAMPLE.read_text()
    assert explained(text) == text, "run: .venv/bin/python -m tests.unit.settings.explained"


def completed_example() -> str:
    """Return the example with every option. While the file lacks one, only the test above fails."""
    return explained(EXAMPLE.read_text())


@pytest.mark.parametrize(
    ("statement", "mended"),
    [
        ("http_hosts = ", "http_hosts = []"),
        ("maximum_record_age_in_seconds = ", "maximum_record_age_in_seconds = 60"),
        ("scaling_config = ", "scaling_config.maximum_concurrency = 1"),
    ],
)
def test_an_option_that_the_example_lacks_is_added_at_its_declared_place(statement: str, mended: str) -> None:
    lines = completed_example().splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.startswith(statement))
    end = begin = number
    while lines[begin - 1].startswith("#"):
        begin -= 1
    without = "\n".join(lines[:begin] + lines[end + 2 :]) + "\n"
    expected = [*lines[:end], mended, *lines[end + 1 :]]
    assert explained(without).splitlines() == expected


@pytest.mark.parametrize(("right", "wrong"), [("# Default: 30.\n", ""), ("# The source: ", "# Wrong: ")])
def test_an_explanation_that_is_not_the_declared_one_is_replaced(right: str, wrong: str) -> None:
    text = completed_example()
    assert right in text
    assert explained(text.replace(right, wrong, 1)) == text


@pytest.mark.parametrize(("model", "option"), OPTIONS)
def test_no_option_is_ignored(tmp_path: Path, model: type[Options], option: tuple[str, ...]) -> None:
    example = EXAMPLE.read_text().splitlines()
    (table,) = (name for name, one in MODELS.items() if one is model)
    if (table, option) not in firsts(example):
        example = completed_example().splitlines()
    statement, lines = firsts(example)[table, option], [*example]
    key = ".".join(option) if len(statement.options) == 1 else lines[statement.begin].partition(" = ")[0]
    outcomes = [outcome(tmp_path, lines)]
    for value in (None, *other_values(model, option)):
        lines[statement.begin : statement.end] = [] if value is None else [f"{key} = {value}"]
        outcomes.append(outcome(tmp_path, lines))
        lines = [*example]
    is_used = any(isinstance(one, Settings) and one != outcomes[0] for one in outcomes)
    assert is_used, f"add {'.'.join(option)} to the value in poller/model/, or another value of it to other_values"


def other_values(model: type[Options], option: tuple[str, ...]) -> Iterator[str]:
    """Other values for the options whose example is their default."""
    field = declaration(model, option)
    assert field is not None
    if (numbers := marker(field, Range)) is not None:
        yield from map(as_toml, (numbers.lowest, numbers.highest))
    if isinstance(field.default, bool):
        yield as_toml(not field.default)
    if get_origin(field.annotation) is Literal:
        yield from map(as_toml, get_args(field.annotation))
    others = {
        "region": '"eu-west-2"',
        "http_listen": '"127.0.0.1:1"',
        "api_listen": '"127.0.0.1:1"',
        "destination_arn": '"arn:aws:s3:::failures"',
    }
    if option[-1] in others:
        yield others[option[-1]]


def outcome(folder: Path, lines: list[str]) -> Settings | list[str]:
    """Return the settings without warnings, because warnings also depend on options."""
    file = folder / "poller.toml"
    file.write_text("\n".join(lines))
    try:
        return replace(load(file, ENVIRON), warnings=())
    except SettingsError as error:
        return error.faults
