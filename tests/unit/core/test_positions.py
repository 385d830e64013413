from __future__ import annotations

import itertools

import pytest

from poller.core.positions import number, rank
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    TrimHorizon,
)

IN_ORDER: list[Position] = [
    TrimHorizon(),
    AtTimestamp(1_700_000_000.0),
    AtTimestamp(1_700_000_000.5),
    AtSequence(SequenceNumber("9")),
    AfterSequence(SequenceNumber("9")),
    AtSequence(SequenceNumber("10")),
    AfterSequence(SequenceNumber("49590338271490256608559692538361571095921575989136588898")),
    AfterSequence(SequenceNumber("49590338271490256608559692538361571095921575989136588899")),
    ShardEnd(),
]


@pytest.mark.parametrize(("earlier", "later"), list(itertools.combinations(IN_ORDER, 2)))
def test_a_later_position_has_the_greater_rank(earlier: Position, later: Position) -> None:
    assert rank(earlier) < rank(later)


def test_latest_has_no_rank() -> None:
    with pytest.raises(AssertionError):
        rank(Latest())


@pytest.mark.parametrize("text", ["", "-1", "1.0", "LATEST", " 1", "١", "1" * 5000])
def test_a_sequence_number_has_digits_only(text: str) -> None:
    with pytest.raises(ValueError, match="digits"):
        number(SequenceNumber(text))
