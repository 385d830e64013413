"""When is a shard read again, and is it caught up?

    behind       the answer says so; or it does not say, and has records      read again as soon as the service allows
    caught up    the answer says so; or many answers in a row had no record   read at the service's base rate

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB", polling.
"""

from __future__ import annotations

from poller.model.stream import Read, StreamLimits


def seconds_to_next_read(read: Read, limits: StreamLimits) -> float:
    """From the beginning of this read to the beginning of the next."""
    return limits.read_interval_when_behind if _is_behind(read) else limits.read_interval_at_the_tip


def is_caught_up(read: Read, *, empty_reads: int, limits: StreamLimits) -> bool:
    """Whether all that arrived before the read has now been read; `empty_reads` counts this one and those before it."""
    if read.behind_in_seconds is None:
        return empty_reads >= limits.empty_reads_at_the_tip
    return read.behind_in_seconds == 0


def is_empty(read: Read) -> bool:
    """Without records though it may have reached the tip."""
    return not (read.records or read.behind_in_seconds)


def _is_behind(read: Read) -> bool:
    return bool(read.records) if read.behind_in_seconds is None else read.behind_in_seconds > 0
