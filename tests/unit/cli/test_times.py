"""Which time does a text of a person mean?"""

from __future__ import annotations

import pytest

from poller.cli.times import absolute

NOON = 1_769_860_800.0


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", "1769860710.000"),
        ("10m", "1769860200.000"),
        ("2h", "1769853600.000"),
        ("1d", "1769774400.000"),
        *(
            (unchanged, unchanged)
            for unchanged in ("10", "10w", "10 m", "-1m", "1.5h", "LATEST", "", "1769860800", "99999999d")
        ),
    ],
)
def test_a_number_with_a_unit_is_a_time_before_now(text: str, time: str) -> None:
    assert absolute(text, NOON) == time
