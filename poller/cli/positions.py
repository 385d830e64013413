"""How is a position written on the command line?

    TRIM_HORIZON | LATEST | 2026-01-31T12:00:00Z | 1769860800 | 49590338271490256608559692538361571095921575989136588898

A number is seconds since 1970 if it is shorter than every sequence number of AWS. With --shard it is always a sequence
number, because emulators count from 1.
A time must not be in the future, as in the settings.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any, assert_never

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

SHORTEST_SEQUENCE_NUMBER = 20
"""Digits; Amazon DynamoDB Streams API Reference, "StreamRecord": 21 to 40. Those of Kinesis have 56."""

LAUNCH_OF_KINESIS = 1_385_856_000
"""Epoch seconds; an earlier time is hardly meant."""

LAST_YEAR = 253_402_300_800
"""Epoch seconds of the year 10000; no milliseconds since 1978 are fewer."""

LONGEST_SEQUENCE_NUMBER = 128
"""Digits; Amazon Kinesis Data Streams API Reference, "GetShardIterator"."""


class NoPosition(ValueError):
    """What was given is none; says why."""


def given(text: str, *, is_of_shard: bool, is_after: bool) -> Position:
    """Raises NoPosition."""
    if re.fullmatch(r"[0-9]+", text) and (is_of_shard or is_after or len(text) >= SHORTEST_SEQUENCE_NUMBER):
        if len(text) > LONGEST_SEQUENCE_NUMBER:
            raise NoPosition(f"{text} is too long: a sequence number has at most {LONGEST_SEQUENCE_NUMBER} digits")
        number = SequenceNumber(text)
        return AfterSequence(number) if is_after else AtSequence(number)
    if is_after:
        raise NoPosition(f"--after goes with a sequence number, not with {text}")
    match text:
        case "TRIM_HORIZON":
            return TrimHorizon()
        case "LATEST":
            return Latest()
    return AtTimestamp(_moment(text))


def _moment(text: str) -> float:
    moment = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else _written_out(text)
    if moment < LAUNCH_OF_KINESIS:
        raise NoPosition(f"{text} is before AWS had streams (December 2013): was a sequence number meant, cut short?")
    if LAST_YEAR < moment <= LAST_YEAR * 1000:
        raise NoPosition(f"{text} looks like milliseconds since 1970: give seconds")
    if moment > time.time():
        raise NoPosition(f"{text} must not be in the future")
    return moment


def _written_out(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        kinds = "TRIM_HORIZON, LATEST, a time as in 2026-01-31T12:00:00Z, seconds since 1970, or a sequence number"
        raise NoPosition(f"{text} is not a position: {kinds}") from None
    if moment.tzinfo is None:
        raise NoPosition(f"{text} is a time without its offset, as in 2026-01-31T12:00:00Z") from None
    return moment.timestamp()


def in_words(position: Position) -> str:
    match position:
        case TrimHorizon():
            return "at the oldest record that there is (TRIM_HORIZON)"
        case Latest():
            return "at the records that are written after the next start (LATEST)"
        case AtTimestamp(timestamp):
            return f"at the records that arrived at {when(timestamp)} or later"
        case AtSequence(number):
            return f"at {number}"
        case AfterSequence(number):
            return f"after {number}"
        case ShardEnd():
            return "at the end: the shard is closed, and all of it done"
        case _:
            assert_never(position)


def for_programs(position: Position) -> dict[str, Any]:
    """In the words of Kinesis's "GetShardIterator"; a time is in epoch seconds."""
    match position:
        case TrimHorizon():
            return {"type": "TRIM_HORIZON"}
        case Latest():
            return {"type": "LATEST"}
        case AtTimestamp(timestamp):
            return {"type": "AT_TIMESTAMP", "timestamp": timestamp}
        case AtSequence(number):
            return {"type": "AT_SEQUENCE_NUMBER", "sequence_number": number}
        case AfterSequence(number):
            return {"type": "AFTER_SEQUENCE_NUMBER", "sequence_number": number}
        case ShardEnd():
            return {"type": "SHARD_END"}
        case _:
            assert_never(position)


def when(moment: float) -> str:
    """To the millisecond where it is not a whole second; Kinesis's times are no finer."""
    timespec = "seconds" if moment == int(moment) else "milliseconds"
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
