"""How does config/poller.toml explain an option? With the text of its declaration, above the option's first line.

`python -m tests.unit.settings.explained` writes these texts into the file, after a declaration has changed. An option
that the file lacks is added after the one that is declared before it, with its example or its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from poller.settings.daemon import DaemonOptions
from poller.settings.functions import FunctionOptions
from poller.settings.mappings import MappingOptions
from poller.settings.options import Options, Range, declaration, leaves, marker
from poller.settings.table import as_toml

EXAMPLE = Path(__file__).parents[3] / "config" / "poller.toml"
MODELS: dict[str, type[Options]] = {
    "daemon": DaemonOptions,
    "functions": FunctionOptions,
    "mappings": MappingOptions,
}


class Statement(NamedTuple):
    """The lines of one option in the file, without its comment. `options` are the options that it sets."""

    table: str
    options: tuple[tuple[str, ...], ...]
    begin: int
    end: int


def explained(text: str) -> str:
    """Return the text with the explanation of each option above its first statement."""
    lines = text.splitlines()
    for table, model in MODELS.items():
        before: tuple[str, ...] | None = None
        stated = firsts(lines)
        for option in leaves(model):
            if (table, option) not in stated:
                _insert(lines, table, before, option)
            before = option
    for (table, option), first in reversed(firsts(lines).items()):
        begin = first.begin
        while lines[begin - 1].startswith("#"):
            begin -= 1
        lines[begin : first.begin] = _comment(MODELS[table], option)
    return "\n".join(lines) + "\n"


def firsts(lines: list[str]) -> dict[tuple[str, tuple[str, ...]], Statement]:
    """Return the first statement of each option, by table and option, in the order of the file."""
    firsts: dict[tuple[str, tuple[str, ...]], Statement] = {}
    for statement in _statements(lines):
        for option in statement.options:
            firsts.setdefault((statement.table, option), statement)
    return firsts


def _statements(lines: list[str]) -> Iterator[Statement]:
    table, number = "", 0
    while number < len(lines):
        begin, line = number, lines[number]
        number += 1
        if header := re.match(r"\[([a-z]+)", line):
            table = header[1]
        if key := re.match(r"([a-z_.]+) = ", line):
            while number < len(lines) and lines[number].startswith((" ", "]", "}")):
                number += 1
            path = tuple(key[1].split("."))
            stated = tuple(option for option in leaves(MODELS[table]) if option[: len(path)] == path)
            yield Statement(table, stated, begin, number)


def _insert(lines: list[str], table: str, before: tuple[str, ...] | None, option: tuple[str, ...]) -> None:
    """Insert an option after the first statement of the option that is declared before it."""
    end = next(
        one.end for one in _statements(lines) if one.table == table and (before is None or before in one.options)
    )
    lines[end:end] = ["", f"{'.'.join(option)} = {_example(MODELS[table], option)}"]


def _comment(model: type[Options], option: tuple[str, ...]) -> list[str]:
    field = declaration(model, option)
    assert field is not None
    assert field.description is not None, f"{'.'.join(option)} has no explanation"
    return [f"# {line}" for line in field.description.splitlines()]


def _example(model: type[Options], option: tuple[str, ...]) -> str:
    field = declaration(model, option)
    assert field is not None
    numbers, default = marker(field, Range), field.get_default(call_default_factory=True)
    if field.examples:
        return as_toml(field.examples[0])
    if default is None and numbers is not None:
        return as_toml(numbers.lowest)
    assert default is not None, f"{'.'.join(option)} has no default, so it needs Field(examples=[...])"
    return as_toml(default)


if __name__ == "__main__":
    EXAMPLE.write_text(explained(EXAMPLE.read_text()))
