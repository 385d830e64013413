from __future__ import annotations

import itertools

import pytest

from poller.core.positions import moves_back, number
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
def test_a_later_position_never_goes_back_to_an_earlier_one(earlier: Position, later: Position) -> None:
    assert moves_back(later, earlier)
    assert not moves_back(earlier, later)


@pytest.mark.parametrize("position", IN_ORDER)
def test_to_stay_is_not_to_move_back(position: Position) -> None:
    assert not moves_back(position, position)


def test_latest_has_no_place() -> None:
    with pytest.raises(AssertionError):
        moves_back(TrimHorizon(), Latest())


@pytest.mark.parametrize("text", ["", "-1", "1.0", "LATEST", " 1"])
def test_a_sequence_number_has_digits_only(text: str) -> None:
    with pytest.raises(AssertionError):
        number(SequenceNumber(text))
