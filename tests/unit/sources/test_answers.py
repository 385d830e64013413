"""Is an answer that lacks what the service always sends refused, without a word on what was there instead?"""

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
def test_what_is_missed_is_named_and_what_was_there_is_not(answer: Any, message: str) -> None:
    with pytest.raises(Rejected) as raised, understood("Things", "list"):
        int(answer["things"])
    assert (str(raised.value), raised.value.code) == (message, "UnusableAnswer")


def test_what_the_service_refused_passes_through() -> None:
    with pytest.raises(NotFound), understood("Things", "list"):
        raise NotFound("gone", code="Gone")
