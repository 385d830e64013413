"""Which names does a message offer in place of an unknown one?"""

from __future__ import annotations

import pytest

from poller.core.names import other_names


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("ordrs", ["orders", "clicks"], "did you mean orders?"),
        ("ORDERS", ["orders", "clicks"], "did you mean orders?"),
        ("x", ["orders", "clicks"], "the names are orders, clicks"),
        ("x", [], "there are none"),
        ("x", [str(number) for number in range(12)], "the names are 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"),
    ],
)
def test_the_nearest_name_is_offered_or_else_the_first_ones(name: str, known: list[str], text: str) -> None:
    assert other_names(name, known) == text
