"""What time does a service's clock show? Its answers tell, by their Date header.

A Date has whole seconds, and the service wrote it between the request and the answer. Our steady clock, which nobody
sets, tells when those were:

    asked ───── Date <= the service's time < Date + 2 s ───── answered

So each answer gives bounds for the difference between the service's clock and the steady one.  Further answers narrow
the bounds; a slow answer has wide bounds, and changes nothing.  An answer that contradicts the bounds replaces them,
because one of the clocks was set.

Our time of day is finer than a Date, so it is used while it is within the bounds.  Outside of them it is wrong; then
the lower bound is used: the service's clock has certainly reached it, so no record counts as older than it is.

Source: RFC 9110, section 6.6.1, "Date".
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from typing import NamedTuple

MARGIN_IN_SECONDS = 2.0
"""How much later than its Date an answer may have been written: a Date omits the fraction of a second, and many servers
renew it once a second."""

LARGEST_DIFFERENCE_IN_SECONDS = 86_400.0
"""A Date that differs more from our time of day is ignored: a local time taken for UTC is 14 hours off at most, and an
emulator with another year tells nothing about the age of records."""

DATE = re.compile(r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Bounds(NamedTuple):
    """By how many seconds the service's clock is ahead of the steady one, at least and at most."""

    low: float
    high: float


def bounds(date: float, *, asked_at: float, answered_at: float) -> Bounds:
    """What one answer tells. `date` is in epoch seconds, the others are on the steady clock."""
    return Bounds(date - answered_at, date + MARGIN_IN_SECONDS - asked_at)


def narrowed(known: Bounds | None, told: Bounds) -> Bounds:
    """The bounds after one more answer."""
    if known is None or told.low > known.high or told.high < known.low:
        return told
    return Bounds(max(known.low, told.low), min(known.high, told.high))


def is_plausible(told: Bounds, *, ours: float, steady: float) -> bool:
    """Whether the Date is near enough to our time of day, `ours`; `steady` is the steady clock."""
    difference = ours - steady
    return told.low - LARGEST_DIFFERENCE_IN_SECONDS <= difference <= told.high + LARGEST_DIFFERENCE_IN_SECONDS


def time_at(known: Bounds, *, ours: float, steady: float) -> float:
    """The service's time of day, in epoch seconds."""
    return ours if known.low <= ours - steady <= known.high else known.low + steady


def parsed_date(text: str) -> float | None:
    """A Date header in epoch seconds; None for anything but the format that RFC 9110 tells servers to write."""
    match = DATE.fullmatch(text)
    if match is None or match[2] not in MONTHS:
        return None
    day, _, year, hour, minute, second = match.groups()
    try:
        moment = datetime(int(year), MONTHS.index(match[2]) + 1, int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    return float(timegm(moment.timetuple()))
