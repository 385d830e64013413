"""What time does a service's clock show?

The Date header of its answers tells the time in whole seconds. The service wrote it between the request and the answer.
Our steady clock, which is never set, tells when the request was sent and when the answer came:

    asked ───── Date <= the service's time < Date + 2 s ───── answered

So each answer gives a lower and an upper bound for the difference between the service's clock and the steady clock.
Further answers narrow the bounds. An answer that contradicts the bounds replaces them, because a clock was set.

If our own time of day lies within the bounds, it is used, because it has fractions of a second.
If it lies outside the bounds, it is wrong, and the lower bound is used. The service's clock has certainly reached this
time, so no record seems older than it is.

Source: RFC 9110, section 6.6.1, "Date".
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from typing import NamedTuple

MARGIN_IN_SECONDS = 2.0
"""The service's time is less than this after the Date: a Date has no fractions, and many servers update it only once
a second."""

LARGEST_DIFFERENCE_IN_SECONDS = 86_400.0
"""A Date that differs more from our time of day is ignored. Some emulators, for example, run in another year.

A clock that shows local time as UTC differs by 14 hours at most.
"""

DATE = re.compile(r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Bounds(NamedTuple):
    """The bounds of the difference between the service's clock and the steady clock, in seconds."""

    low: float
    high: float


def bounds(date: float, *, asked_at: float, answered_at: float) -> Bounds:
    """Return the bounds that one answer gives. `date` is in epoch seconds, the other times are on the steady clock."""
    return Bounds(date - answered_at, date + MARGIN_IN_SECONDS - asked_at)


def narrowed(known: Bounds | None, new: Bounds) -> Bounds:
    """Return the bounds after one more answer: the intersection, or the new bounds if the two contradict each other."""
    if known is None or new.low > known.high or new.high < known.low:
        return new
    return Bounds(max(known.low, new.low), min(known.high, new.high))


def is_plausible(new: Bounds, *, ours: float, steady: float) -> bool:
    """Return whether the Date is near enough to our time of day `ours`. `steady` is the steady clock's time now."""
    difference = ours - steady
    return new.low - LARGEST_DIFFERENCE_IN_SECONDS <= difference <= new.high + LARGEST_DIFFERENCE_IN_SECONDS


def time_at(known: Bounds, *, ours: float, steady: float) -> float:
    """Return the service's time of day, in epoch seconds: `ours` if it lies within the bounds, else the lower bound."""
    return ours if known.low <= ours - steady <= known.high else known.low + steady


def parsed_date(text: str) -> float | None:
    """Return the time of a Date header in epoch seconds, or None if it does not have the format of RFC 9110."""
    match = DATE.fullmatch(text)
    if match is None or match[2] not in MONTHS:
        return None
    day, _, year, hour, minute, second = match.groups()
    try:
        moment = datetime(int(year), MONTHS.index(match[2]) + 1, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    return float(timegm(moment.timetuple()))
