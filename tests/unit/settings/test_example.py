"""config/poller.toml explains every option, and is sound."""

from __future__ import annotations

import pytest

from poller.settings.loading import load
from tests.unit.settings.explained import EXAMPLE, explained


def test_the_example_is_sound_and_needs_no_advice() -> None:
    settings = load(EXAMPLE, {"DATABASE_PASSWORD": "a", "NOTIFY_TOKEN": "b", "POLLER_ADMIN_TOKEN": "c"})
    assert len(settings.queue_mappings) == 3
    assert len(settings.stream_mappings) == 2
    assert settings.warnings == ()


def test_the_example_shows_and_explains_every_option_as_it_is_declared() -> None:
    """Where this fails, `python -m tests.unit.settings.explained` mends the file."""
    text = EXAMPLE.read_text()
    assert explained(text) == text


@pytest.mark.parametrize(
    ("statement", "mended"),
    [
        ("http_hosts = ", "http_hosts = []"),
        ("maximum_record_age_in_seconds = ", "maximum_record_age_in_seconds = 60"),
        ("scaling_config = ", "scaling_config.maximum_concurrency = 1"),
    ],
)
def test_an_option_that_the_example_lacks_is_put_in_where_it_is_declared(statement: str, mended: str) -> None:
    lines = EXAMPLE.read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.startswith(statement))
    end = begin = number
    while lines[begin - 1].startswith("#"):
        begin -= 1
    without = "\n".join(lines[:begin] + lines[end + 2 :]) + "\n"
    expected = [*lines[:end], mended, *lines[end + 1 :]]
    assert explained(without).splitlines() == expected


@pytest.mark.parametrize(("right", "wrong"), [("# Default: 30.\n", ""), ("# The source: ", "# Wrong: ")])
def test_an_explanation_that_is_not_the_declared_one_is_replaced(right: str, wrong: str) -> None:
    text = EXAMPLE.read_text()
    assert right in text
    assert explained(text.replace(right, wrong, 1)) == text
