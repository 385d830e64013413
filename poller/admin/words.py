"""How does the status page write numbers?"""

from __future__ import annotations

from datetime import UTC, datetime


def count(number: int, word: str) -> str:
    """Return a number with its noun: `1 shard`, `2,500 shards`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def of_limit(number: int, limit: int) -> str:
    """Return a number in use with its limit. A limit that was lowered may be exceeded: `9, limit 2`."""
    return f"{number:,} of {limit:,}" if number <= limit else f"{number:,}, limit {limit:,}"


def duration(seconds: float) -> str:
    """Return a time in the largest unit that it reaches: `0 s`, `3 ms`, `0.4 s`, `3.5 min`, `2.0 h`, `4.1 d`."""
    for length, unit in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    if 0 < seconds < 0.0995:
        return f"{max(1.0, seconds * 1000):.0f} ms"
    return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"


def size(number: int) -> str:
    """Return a number of bytes: `512 B`, `1.5 KiB`, `16.0 MiB`."""
    for length, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} B"


def written(epoch_seconds: float) -> str:
    """Return a moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written_if_known(epoch_seconds: float | None) -> str | None:
    return None if epoch_seconds is None else written(epoch_seconds)


def rate(number: float) -> str:
    """Return a number a second with few digits: `0`, `< 0.01`, `0.03`, `4.5`, `120`, `34,600`."""
    if number < 0.005:
        return "< 0.01" if number > 0 else "0"
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"
