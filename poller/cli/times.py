"""How does a command show a time to a person, and how does a person write a time before now?

A time is shown as "3 hours ago", in the largest unit of which at least two have passed. 10m means ten minutes ago.
"""

from __future__ import annotations

import re
from datetime import datetime

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


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


def absolute(text: str, now: float) -> str:
    """Return a text such as 10m as the time before now, in epoch seconds. Return any other text unchanged.

    The result always has a point, because whole numbers may be sequence numbers.
    """
    before = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    moment = -1 if before is None else now - int(before[1]) * SECONDS[before[2]]
    return text if moment < 0 else f"{moment:.3f}"
