"""When is a shard read again, and has the reader caught up with it?

    the read                                         the next read                       caught up?
    says that it is behind the end of the shard      as soon as the service allows       no
    says that it is at the end of the shard          at the service's base rate          yes
    does not say, and has records                    as soon as the service allows       no
    does not say, and is empty                       at the service's base rate          after many such reads in a row

Source: AWS Lambda Developer Guide, "Using Lambda with Kinesis" and "Using Lambda with DynamoDB", polling.
"""

from __future__ import annotations

from poller.model.stream import Read, StreamLimits


def seconds_to_next_read(read: Read, limits: StreamLimits) -> float:
    """Return the seconds from the beginning of this read to the beginning of the next one."""
    return limits.read_interval_when_behind if _is_behind(read) else limits.read_interval_at_the_tip


def is_caught_up(read: Read, *, empty_reads: int, limits: StreamLimits) -> bool:
    """Return whether every record that arrived before this read has been read.

    `empty_reads` is the number of empty reads in a row, including this one.
    """
    if read.behind_in_seconds is None:
        return empty_reads >= limits.empty_reads_at_the_tip
    return read.behind_in_seconds == 0


def is_empty(read: Read) -> bool:
    """Return whether the read has no records and does not say that it is behind the end of the shard."""
    return not (read.records or read.behind_in_seconds)


def _is_behind(read: Read) -> bool:
    return bool(read.records) if read.behind_in_seconds is None else read.behind_in_seconds > 0
