"""May this value be a label?"""

from __future__ import annotations

import pytest

from poller.telemetry.labels import MAX_UNKNOWN_VALUES, BoundedValues


def test_a_known_value_is_always_admitted() -> None:
    codes = BoundedValues(["Known"])
    for number in range(1000):
        codes.admit(f"Code{number}")
    assert codes.admit("Known") == "Known"


def test_unknown_values_are_admitted_while_they_are_few_and_then_become_other() -> None:
    codes = BoundedValues(["Known"])
    values = [codes.admit(f"Code{number}") for number in range(MAX_UNKNOWN_VALUES + 5)]
    assert values[:MAX_UNKNOWN_VALUES] == [f"Code{number}" for number in range(MAX_UNKNOWN_VALUES)]
    assert values[MAX_UNKNOWN_VALUES:] == ["other"] * 5


def test_a_value_once_admitted_stays_admitted() -> None:
    codes = BoundedValues([])
    for number in range(1000):
        codes.admit(f"Code{number}")
    assert codes.admit("Code3") == "Code3"


@pytest.mark.parametrize("value", ["", "no user ann@example.com", "x" * 65, "é", "7", "two\nlines", "Name\n"])
def test_a_value_that_does_not_look_like_a_name_becomes_other(value: str) -> None:
    assert BoundedValues([]).admit(value) == "other"


@pytest.mark.parametrize(
    "value", ["KeyError", "Sandbox.Timedout", "AWS.SimpleQueueService.NonExistentQueue", "a:b-c_1"]
)
def test_names_of_error_codes_and_exceptions_are_admitted(value: str) -> None:
    assert BoundedValues([]).admit(value) == value
