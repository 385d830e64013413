"""How does a command show a time? As "3 hours ago", in the largest unit of which at least two have passed."""

from __future__ import annotations

from datetime import datetime


def ago(seconds: float) -> str:
    """Return `seconds` in the past as words, such as "3 hours ago". A time in the future counts as now."""
    return f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {name}"
    return f"{max(0, int(seconds))} s"


def epoch_seconds(written: str) -> float:
    """Return a moment that the daemon has written, such as 2026-01-31T12:00:00Z, in epoch seconds."""
    return datetime.fromisoformat(written).timestamp()
