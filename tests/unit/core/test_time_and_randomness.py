"""Do the decisions get the time and the randomness as arguments? They may import `random` and `datetime` for types."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "poller"
CLOCKS = ("now", "utcnow", "today")


def own_time_or_randomness(code: str) -> Iterator[str]:
    """Yield each expression of the code that reads a clock, or that uses more of `random` than its type `Random`."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                yield ast.unparse(node)
            case ast.ImportFrom(module="random", names=names) if [each.name for each in names] != ["Random"]:
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(attr="Random") | ast.Name(id="Random")):
                yield ast.unparse(node)
            case ast.Attribute(value=ast.Name(id="datetime" | "date") | ast.Attribute(), attr=name) if name in CLOCKS:
                yield ast.unparse(node)


@pytest.mark.parametrize("folder", ["core", "model"])
def test_decisions_get_the_time_and_the_randomness_as_arguments(folder: str) -> None:
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert len(files) > 10
    found = [f"{file.name}: {text}" for file in files for text in own_time_or_randomness(file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "random.random()",
        "random.Random(5)",
        "Random()",
        "from random import choice",
        "from random import Random, choice",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
        "partial(datetime.now, UTC)",
    ],
)
def test_a_use_of_a_clock_or_of_the_common_randomness_is_found(code: str) -> None:
    assert list(own_time_or_randomness(code))
