"""How does a person write a position, on the command line or in a form of the page?

    TRIM_HORIZON | LATEST | 2026-01-31T12:00:00Z | 1769860800 | 49590338271490256608559692538361571095921575989136588898
    10m for ten minutes ago; also s, h and d

A whole number of 20 digits or more is a sequence number. A shorter one is seconds since 1970, because no sequence
number of AWS is so short. For one shard, or with "after", every whole number is a sequence number, because the sequence
numbers of emulators may begin at 1.
A time must not be in the future, as in the settings.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, assert_never

from poller.model.stream import (
    TOO_LATE,
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
"""In digits. A sequence number has 21 to 40 digits in DynamoDB, and 56 in Kinesis.

Source: Amazon DynamoDB Streams API Reference, "StreamRecord".
"""

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

LAUNCH_OF_KINESIS = 1_385_856_000
"""In epoch seconds. No stream has records from an earlier time, so an earlier time is refused as a mistake."""

LONGEST_SEQUENCE_NUMBER = 128
"""In digits. Source: Amazon Kinesis Data Streams API Reference, "GetShardIterator"."""


class NoPosition(ValueError):
    """Raised if a text is not a position, or if this shard or mapping cannot have the position.

    The message says why.
    """


def given(text: str, *, is_of_shard: bool, is_after: bool, now: float) -> Position:
    """Return the position that the text names. Raise NoPosition if it names none.

    `is_of_shard` is true if the position is for one shard. With `is_after`, the text must be a sequence number, and the
    position is after the record with this number. `now` is in epoch seconds.
    """
    if re.fullmatch(r"[0-9]+", text) and (is_of_shard or is_after or len(text) >= SHORTEST_SEQUENCE_NUMBER):
        if len(text) > LONGEST_SEQUENCE_NUMBER:
            raise NoPosition(f"{text} is too long: a sequence number has at most {LONGEST_SEQUENCE_NUMBER} digits")
        number = SequenceNumber(text)
        return AfterSequence(number) if is_after else AtSequence(number)
    if is_after:
        raise NoPosition(f"only a sequence number has a position after it, not {text}")
    match text:
        case "TRIM_HORIZON":
            return TrimHorizon()
        case "LATEST":
            return Latest()
    return AtTimestamp(_moment(absolute(text, now), now))


def absolute(text: str, now: float) -> str:
    """Return a text such as 10m as the time before now. Return any other text unchanged. `now` is in epoch seconds."""
    before = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    moment = -1 if before is None else now - int(before[1]) * SECONDS[before[2]]
    return text if moment < 0 else when(moment)


def _moment(text: str, now: float) -> float:
    moment = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else _written_out(text)
    if moment < LAUNCH_OF_KINESIS:
        raise NoPosition(
            f"{text} is before AWS had streams (December 2013); as a sequence number, it has too few digits"
        )
    if TOO_LATE < moment <= TOO_LATE * 1000:
        raise NoPosition(f"{text} looks like milliseconds since 1970: give seconds")
    if moment > now:
        raise NoPosition(f"{text} must not be in the future")
    return moment


def _written_out(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        kinds = (
            "TRIM_HORIZON, LATEST, a time as in 2026-01-31T12:00:00Z, 10m for ten minutes ago (s, m, h, d), "
            "seconds since 1970, or a sequence number"
        )
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
            return f"at the first record that arrived at {when(timestamp)} or later"
        case AtSequence(number):
            return f"at {number}"
        case AfterSequence(number):
            return f"after {number}"
        case ShardEnd():
            return "at the end: the shard is closed, and all its records are done"
        case _:
            assert_never(position)


def for_programs(position: Position) -> dict[str, Any]:
    """Return the position as JSON, with the type names of Kinesis's GetShardIterator. Times are in epoch seconds."""
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
    """Return the time as text in UTC, with milliseconds if it is not a whole second, as in Kinesis."""
    timespec = "seconds" if moment == int(moment) else "milliseconds"
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
