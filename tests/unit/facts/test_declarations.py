"""Does every fact declare all that the log and the metrics need?"""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections import Counter as Tally
from importlib import import_module
from pathlib import Path

import pytest

import poller.facts
from poller.facts.declaration import DECLARATIONS, Declaration, Label, metrics

ROOT = Path(poller.facts.__file__).parents[1]
EVERY_FACT = pytest.mark.parametrize("declaration", DECLARATIONS.values(), ids=lambda one: one.event)


def test_every_class_of_a_fact_is_declared_and_exported() -> None:
    classes = {
        thing
        for module in pkgutil.iter_modules(poller.facts.__path__, "poller.facts.")
        for _, thing in inspect.getmembers(import_module(module.name), inspect.isclass)
        if issubclass(thing, tuple)
    }
    assert len(classes) > 40
    assert classes == set(DECLARATIONS)
    assert {getattr(poller.facts, fact.__name__) for fact in classes} == classes


@pytest.fixture(scope="module")
def called() -> set[str]:
    """Return the names of all functions and classes that the parts call which may emit facts."""
    parts = [path.read_text() for path in ROOT.rglob("*.py") if path.parent != ROOT / "facts"]
    return {name for part in parts for name in re.findall(r"\b(\w+)\(", part)}


@EVERY_FACT
def test_every_fact_is_emitted_by_some_part(declaration: Declaration, called: set[str]) -> None:
    assert declaration.fact.__name__ in called


@EVERY_FACT
def test_every_fact_has_a_meaning_of_one_sentence(declaration: Declaration) -> None:
    for meaning in (declaration.meaning, *(line.meaning for line in declaration.lines if line.meaning)):
        assert re.fullmatch(r"[A-Z`].*[.]", meaning), "a docstring whose first paragraph is the meaning"


@EVERY_FACT
def test_a_declaration_names_only_fields_and_properties_of_the_fact(declaration: Declaration) -> None:
    amounts = [count.amount for count in declaration.counts if isinstance(count.amount, str)]
    labels = [label.source for count in declaration.counts for label in count.metric.labels]
    keys = [part.source if isinstance(part, Label) else part for line in declaration.lines for part in line.once_per]
    assert [name for name in (*amounts, *labels, *keys) if not hasattr(declaration.fact, name)] == []


@EVERY_FACT
def test_a_fact_counts_only_metrics_of_its_mapping_or_its_function_or_else_of_the_daemon(
    declaration: Declaration,
) -> None:
    owners = {"mapping" if count.metric.of in ("queue", "stream") else count.metric.of for count in declaration.counts}
    subject = next((name for name in ("mapping", "function") if name in declaration.fact._fields), "daemon")
    assert owners <= {subject}


@EVERY_FACT
def test_a_line_that_is_suppressed_is_suppressed_for_its_mapping_or_function_if_it_has_one(
    declaration: Declaration,
) -> None:
    subjects = {"mapping", "function"} & set(declaration.fact._fields)
    assert not subjects or {line.once_per[0] for line in declaration.lines if line.once_per} <= subjects


@EVERY_FACT
def test_only_the_last_of_several_lines_has_no_condition(declaration: Declaration) -> None:
    assert all(line.when is not None for line in declaration.lines[:-1])


def test_no_two_facts_have_the_same_log_event() -> None:
    events = {(line.event or one.event, one.fact) for one in DECLARATIONS.values() for line in one.lines}
    assert [event for event, count in Tally(event for event, _ in events).items() if count > 1] == []


def test_no_two_metrics_have_the_same_name() -> None:
    assert [name for name, count in Tally(metric.name for metric in metrics()).items() if count > 1] == []
