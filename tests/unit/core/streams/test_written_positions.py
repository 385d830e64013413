from __future__ import annotations

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from poller.core.streams.written_positions import NoPosition, absolute, for_programs, given, in_words, when
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import StreamMapping
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

NUMBER = "49590338271490256608559692538361571095921575989136588898"
NOON = 1769860800.0
NOW = 1800000000.0


def mapping(arn: str) -> StreamMapping:
    return StreamMapping(
        name=MappingName("m"),
        event_source_arn=Arn.parse(arn),
        function_name=FunctionName("f"),
        starting_position=Latest(),
        region="eu-west-1",
        uuid="u",
    )


CLICKS = mapping("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")
USERS = mapping("arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("TRIM_HORIZON", TrimHorizon()),
        ("LATEST", Latest()),
        ("2026-01-31T12:00:00Z", AtTimestamp(NOON)),
        ("2026-01-31T13:00:00.25+01:00", AtTimestamp(NOON + 0.25)),
        ("2026-01-31 12:00:00Z", AtTimestamp(NOON)),
        ("1769860800", AtTimestamp(NOON)),
        ("1769860800.5", AtTimestamp(NOON + 0.5)),
        ("1385856000", AtTimestamp(1_385_856_000.0)),
        ("10m", AtTimestamp(NOW - 600)),
        ("0" * 19 + "1", AtSequence(SequenceNumber("0" * 19 + "1"))),
        (NUMBER, AtSequence(SequenceNumber(NUMBER))),
    ],
)
def test_a_position_is_a_word_a_time_or_a_sequence_number(text: str, position: Position) -> None:
    assert given(text, is_of_shard=False, is_after=False, now=NOW) == position


@pytest.mark.parametrize("digits", ["1", "1769860800", NUMBER])
def test_digits_for_a_shard_or_with_after_are_a_sequence_number(digits: str) -> None:
    number = SequenceNumber(digits)
    assert given(digits, is_of_shard=True, is_after=False, now=NOW) == AtSequence(number)
    assert given(digits, is_of_shard=True, is_after=True, now=NOW) == AfterSequence(number)
    assert given(digits, is_of_shard=False, is_after=True, now=NOW) == AfterSequence(number)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("latest", "latest is not a position: TRIM_HORIZON, LATEST, a time as in .*, 10m for ten minutes ago"),
        ("10w", "10w is not a position"),
        ("", "is not a position"),
        ("AT_TIMESTAMP", "is not a position"),
        ("-1", "is not a position"),
        ("1e9", "is not a position"),
        ("٣", "is not a position"),
        ("2026-01-31", "a time without its offset"),
        ("2026-01-31T12:00:00", "a time without its offset"),
        ("1969-12-31T00:00:00Z", "before AWS had streams"),
        ("9999-01-01T00:00:00Z", "must not be in the future"),
        ("99999999999", "must not be in the future"),
        ("1769860800000", "looks like milliseconds since 1970: give seconds"),
        ("9" * 19, "must not be in the future"),
        ("9" * 129, "at most 128 digits"),
        ("49590338", "as a sequence number, it has too few digits"),
        ("0", "before AWS had streams"),
    ],
)
def test_the_error_of_an_invalid_position_says_why(text: str, why: str) -> None:
    with pytest.raises(NoPosition, match=why):
        given(text, is_of_shard=False, is_after=False, now=NOW)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", "2026-01-31T11:58:30Z"),
        ("10m", "2026-01-31T11:50:00Z"),
        ("2h", "2026-01-31T10:00:00Z"),
        ("1d", "2026-01-30T12:00:00Z"),
        *(
            (unchanged, unchanged)
            for unchanged in ("10", "10w", "10 m", "-1m", "1.5h", "LATEST", "", "1769860800", "99999999d")
        ),
    ],
)
def test_a_number_with_a_unit_is_a_time_before_now(text: str, time: str) -> None:
    assert absolute(text, NOON) == time
    assert absolute(text, NOON + 0.25) == time.replace("0Z", "0.250Z")


@pytest.mark.parametrize("text", ["TRIM_HORIZON", "LATEST", "10m", "2026-01-31T12:00:00Z", "1769860800.5"])
def test_the_option_after_needs_a_sequence_number(text: str) -> None:
    with pytest.raises(NoPosition, match=r"only a sequence number has a position after it, not"):
        given(text, is_of_shard=True, is_after=True, now=NOW)


@drawn(st.integers(min_value=1_385_856_000_000, max_value=int(NOW * 1000)))
def test_a_printed_time_can_be_given_as_a_position(milliseconds: int) -> None:
    """The times of Kinesis have milliseconds."""
    position = given(when(milliseconds / 1000), is_of_shard=False, is_after=False, now=NOW)
    assert isinstance(position, AtTimestamp)
    assert round(position.timestamp * 1000) == milliseconds


@pytest.mark.parametrize(
    ("position", "words", "document"),
    [
        (TrimHorizon(), "at the oldest record that there is (TRIM_HORIZON)", {"type": "TRIM_HORIZON"}),
        (Latest(), "at the records that are written after the next start (LATEST)", {"type": "LATEST"}),
        (
            AtTimestamp(NOON + 0.25),
            "at the first record that arrived at 2026-01-31T12:00:00.250Z or later",
            {"type": "AT_TIMESTAMP", "timestamp": NOON + 0.25},
        ),
        (
            AtSequence(SequenceNumber("7")),
            "at 7",
            {"type": "AT_SEQUENCE_NUMBER", "sequence_number": "7"},
        ),
        (
            AfterSequence(SequenceNumber("7")),
            "after 7",
            {"type": "AFTER_SEQUENCE_NUMBER", "sequence_number": "7"},
        ),
        (ShardEnd(), "at the end: the shard is closed, and all its records are done", {"type": "SHARD_END"}),
    ],
)
def test_every_kind_of_position_is_printed(position: Position, words: str, document: dict[str, object]) -> None:
    assert in_words(position) == words
    assert for_programs(position) == document
