"""How is a position written as text?

    TrimHorizon           TRIM_HORIZON
    Latest                LATEST
    AtTimestamp(12.5)     AT_TIMESTAMP 12.5
    AtSequence("00123")   AT_SEQUENCE_NUMBER 00123
    AfterSequence("123")  AFTER_SEQUENCE_NUMBER 123
    ShardEnd              SHARD_END

The words are those of Kinesis and DynamoDB ("GetShardIterator", ShardIteratorType).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import assert_never

from poller.model.stream import (
    TOO_LATE,
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    ShardEnd,
    StartingPosition,
    TrimHorizon,
)

DIGITS = re.compile(r"[0-9]{1,999}")
"""A sequence number. AWS's have 21 to 56 digits, and its APIs accept up to 128."""


def format_position(position: Position) -> str:
    match position:
        case TrimHorizon():
            return "TRIM_HORIZON"
        case Latest():
            return "LATEST"
        case AtTimestamp(timestamp):
            return f"AT_TIMESTAMP {timestamp!r}"
        case AtSequence(number):
            return f"AT_SEQUENCE_NUMBER {number}"
        case AfterSequence(number):
            return f"AFTER_SEQUENCE_NUMBER {number}"
        case ShardEnd():
            return "SHARD_END"
        case _:
            assert_never(position)


def parse_position(text: str) -> Position:
    """Parse a text that `format_position` wrote. Raises ValueError for any other text."""
    match text.split(" "):
        case ["TRIM_HORIZON"]:
            return TrimHorizon()
        case ["LATEST"]:
            return Latest()
        case ["AT_TIMESTAMP", timestamp] if 0 <= float(timestamp) < TOO_LATE:
            return AtTimestamp(float(timestamp))
        case ["AT_SEQUENCE_NUMBER", number] if DIGITS.fullmatch(number):
            return AtSequence(SequenceNumber(number))
        case ["AFTER_SEQUENCE_NUMBER", number] if DIGITS.fullmatch(number):
            return AfterSequence(SequenceNumber(number))
        case ["SHARD_END"]:
            return ShardEnd()
        case _:
            raise ValueError(f"{text[:100]!r} is not a position")


def parse_starting_position(text: object) -> StartingPosition:
    """Parse a starting position that `format_position` wrote. Raises ValueError for anything else."""
    with suppress(ValueError):
        if isinstance(text, str) and isinstance(position := parse_position(text), StartingPosition):
            return position
    raise ValueError(f"{repr(text)[:100]} is not a starting position")
