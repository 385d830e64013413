"""Is an answer without a value that the service always sends refused, and does the error not show the answer?"""

from __future__ import annotations

from typing import Any

import pytest

from poller.errors import NotFound, Rejected
from poller.sources.answers import understood


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"other": "secret"}, "the answer has no list (no 'things'): is this Things?"),
        (["secret"], "the answer has no list: is this Things?"),
        (None, "the answer has no list: is this Things?"),
        ({"things": "secret"}, "the answer has no list: is this Things?"),
    ],
)
def test_missing_things_are_named_and_present_things_are_not(answer: Any, message: str) -> None:
    with pytest.raises(Rejected) as raised, understood("Things", "list"):
        int(answer["things"])
    assert (str(raised.value), raised.value.code) == (message, "UnusableAnswer")


@pytest.mark.parametrize("key", ["it's secret", "x" * 65, "", "7", "two words"])
def test_a_key_that_no_service_would_use_is_not_named(key: str) -> None:
    """The key is text of the answer, such as the id of an entry that was not in the request."""
    with pytest.raises(Rejected) as raised, understood("Things", "list"):
        raise KeyError(key)
    assert str(raised.value) == "the answer has no list: is this Things?"


def test_an_error_of_the_service_passes_through() -> None:
    with pytest.raises(NotFound), understood("Things", "list"):
        raise NotFound("gone", code="Gone")
