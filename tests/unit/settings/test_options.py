"""How is an option declared, and what comes from the declaration?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from poller.settings.daemon import DaemonOptions
from poller.settings.faults import Fault, in_a_line
from poller.settings.functions import KINDS, FunctionOptions
from poller.settings.mappings import MappingOptions
from poller.settings.options import (
    AtStart,
    Follows,
    For,
    Options,
    Range,
    Secret,
    Unstated,
    built,
    declaration,
    leaves,
    limited,
    marker,
)
from poller.settings.table import Path, Substituted, as_toml

OPTIONS = [(model, option) for model in (DaemonOptions, FunctionOptions, MappingOptions) for option in leaves(model)]


class Inner(Options):
    depth: int = 1
    word: Annotated[str | None, Secret()] = None


class Outer(Options):
    size: Annotated[int | None, Range(1, 10, "records", source="ours", none=-1)] = None
    share: Annotated[float, Range(0, 1, "parts", source="ours", is_whole=False)] = 0.5
    span: Annotated[int | None, Range(0, 9, "seconds", source="ours", none=0), For(("sqs",))] = None
    names: list[str] = Field(default_factory=list)
    inner: Inner | None = None
    several: list[Inner] = Field(default_factory=list)
    named: dict[str, Inner] = Field(default_factory=dict)

    @property
    def depth(self) -> int | None:
        return None if self.inner is None else self.inner.depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    name: str
    size: int | None
    names: tuple[str, ...]
    depth: int | None


def test_the_fields_of_a_value_are_its_options_and_properties() -> None:
    options = Outer(size=3, names=["a"], inner=Inner(depth=7))
    assert built(Value, options, name="v") == Value(name="v", size=3, names=("a",), depth=7)
    assert built(Value, options, name="v", size=4).size == 4


@pytest.mark.parametrize(
    ("option", "written", "value"),
    [
        ("size", 10, 10),
        ("size", -1, None),
        ("size", Substituted("7", "${SIZE}"), 7),
        ("size", Substituted("-1", "${SIZE}"), None),
        ("span", 0, None),
        ("span", 1, 1),
        ("share", 1, 1),
        ("share", Substituted("0.25", "${SHARE}"), 0.25),
    ],
)
def test_a_number_in_the_range_is_read_and_one_number_may_mean_none(
    option: str, written: object, value: object
) -> None:
    assert getattr(Outer.model_validate({option: written}), option) == value


@pytest.mark.parametrize(
    ("option", "written", "rule"),
    [
        ("size", 0, "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("size", 11, "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("size", 2.0, "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("size", True, "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("size", "7", "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("size", Substituted("many", "${SIZE}"), "must be a whole number of records from 1 to 10, or -1 for no limit"),
        ("span", 10, "must be a whole number of seconds from 0 to 9"),
        ("share", 1.5, "must be a number of parts from 0 to 1"),
    ],
)
def test_a_number_outside_the_range_is_refused_with_the_range(option: str, written: object, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({option: written})
    assert [error["msg"] for error in caught.value.errors()] == [rule]


def test_every_option_has_a_path_and_a_list_or_a_table_of_tables_is_one_option() -> None:
    assert leaves(Outer) == (
        ("size",),
        ("share",),
        ("span",),
        ("names",),
        ("inner", "depth"),
        ("inner", "word"),
        ("several",),
        ("named",),
    )


def test_a_declaration_is_found_through_names_and_list_positions() -> None:
    secrets: list[Path] = [("inner", "word"), ("several", 0, "word"), ("named", "word", "word")]
    others: list[Path] = [("inner", "depth"), ("several", 0), ("named", "word"), ("inner", "wrong"), ("wrong", "word")]
    others += [("size", "inner", "word")]
    for path in secrets:
        assert marker(declaration(Outer, path), Secret)
    for path in others:
        assert marker(declaration(Outer, path), Secret) is None
    assert limited(Outer) == {"span": ("sqs",)}


def test_a_fault_never_shows_a_secret() -> None:
    table = {"inner": {"word": "s3cret", "depth": 0}, "several": [{"word": "s3cret"}]}
    assert in_a_line(Fault(("inner", "word"), "is wrong"), table, Outer) == "inner.word: is wrong"
    assert in_a_line(Fault(("several", 0, "word"), "is wrong"), table, Outer) == "several[0].word: is wrong"
    assert in_a_line(Fault(("inner", "depth"), "is wrong"), table, Outer) == "inner.depth = 0: is wrong"


@pytest.mark.parametrize(("model", "option"), OPTIONS)
def test_an_explanation_says_the_range_the_default_and_the_restart_as_declared(
    model: type[BaseModel], option: tuple[str, ...]
) -> None:
    field = declaration(model, option)
    assert field is not None
    text = " ".join((field.description or "").split())
    if (numbers := marker(field, Range)) is not None:
        assert f"from {numbers.lowest} to {numbers.highest}" in text
    assert (marker(field, AtStart) is not None) == ("A change needs a restart." in text)
    has_no_default = option[0] in (*KINDS, "event_source_arn", "function_name") or option[0].startswith("starting_")
    assert has_no_default != ("Default: " in text), "end the explanation with its default, as in Default: 10."
    for default in _written_defaults(model, option):
        assert f"Default: {default}" in text


def _written_defaults(model: type[BaseModel], option: tuple[str, ...]) -> Iterator[str]:
    field = declaration(model, option)
    assert field is not None
    numbers, default = marker(field, Range), field.get_default(call_default_factory=True)
    if default is None and numbers is not None and numbers.none is not None:
        yield str(numbers.none)
    elif isinstance(default, bool | int | float | str):
        yield as_toml(default)


@pytest.mark.parametrize(("model", "option"), OPTIONS)
def test_an_option_without_a_default_says_what_applies_instead(model: type[BaseModel], option: tuple[str, ...]) -> None:
    """`poller check` shows the text.

    The options that say how a function is reached, or what a mapping connects, are always in the file.
    """
    field = declaration(model, option)
    numbers, is_shown = marker(field, Range), marker(field, Follows) or marker(field, Unstated)
    assert field is not None
    if field.get_default(call_default_factory=True) is None and (numbers is None or numbers.none is None):
        required = (*KINDS, "event_source_arn", "function_name", "starting_position", "starting_position_timestamp")
        needs_no_text = option[0] in required
        assert (is_shown is None) == needs_no_text, "add Unstated(...) or Follows() to the option's markers"
