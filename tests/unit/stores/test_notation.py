from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams.notation import format_position, parse_position
from poller.model.stream import TOO_LATE, AfterSequence, AtSequence, AtTimestamp, Latest, Position, SequenceNumber
from poller.stores.notation import rank

digits = st.from_regex(r"0{0,5}[0-9]{1,130}", fullmatch=True).map(SequenceNumber)


@given(one=digits, other=digits, kinds=st.tuples(*[st.sampled_from([AtSequence, AfterSequence])] * 2))
def test_ranks_sort_like_the_numbers_and_after_a_record_is_later_than_at_it(
    one: SequenceNumber, other: SequenceNumber, kinds: tuple[type[AtSequence] | type[AfterSequence], ...]
) -> None:
    def obvious(number: SequenceNumber, kind: type) -> tuple[int, bool]:
        return int(number), kind is AfterSequence

    ranks = [rank(kinds[0](one)), rank(kinds[1](other))]
    numbers = [obvious(one, kinds[0]), obvious(other, kinds[1])]
    assert (ranks[0] < ranks[1], ranks[0] == ranks[1]) == (numbers[0] < numbers[1], numbers[0] == numbers[1])


@given(one=st.floats(0, TOO_LATE - 1), other=st.floats(0, TOO_LATE - 1))
def test_an_earlier_time_never_has_a_higher_rank(one: float, other: float) -> None:
    earlier, later = sorted([one, other])
    assert rank(AtTimestamp(earlier)) <= rank(AtTimestamp(later))


@pytest.mark.parametrize("number", ["", "-1", "1.5", "１２", "12 ", "1e3", "SHARD_END", "9" * 1000])
def test_a_text_that_is_not_a_sequence_number_has_no_rank(number: str) -> None:
    with pytest.raises(AssertionError):
        rank(AfterSequence(SequenceNumber(number)))


@pytest.mark.parametrize(
    ("position", "text"),
    [
        (Latest(), "LATEST"),
        (AtTimestamp(1767225600.5), "AT_TIMESTAMP 1767225600.5"),
        (AfterSequence(SequenceNumber("0012")), "AFTER_SEQUENCE_NUMBER 0012"),
    ],
)
def test_positions_are_written_in_the_terms_of_aws(position: Position, text: str) -> None:
    assert format_position(position) == text
    assert parse_position(text) == position


@pytest.mark.parametrize(
    "text",
    ["", "latest", "AT_TIMESTAMP", "AT_TIMESTAMP soon", "AT_TIMESTAMP 253402300800", "AFTER_SEQUENCE_NUMBER 1 2"],
)
def test_any_other_text_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_position(text)
