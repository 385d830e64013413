"""What time does an endpoint's clock show? Signatures need that time, and so does the age of a record.

`core/service_time.py` has the rules. This module applies them to the answers of one endpoint and to our two clocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from poller.core.service_time import Bounds, bounds, is_plausible, narrowed, parsed_date, time_at


class ServiceClock:
    """Implements `ports.SourceClock` for one endpoint: our clock, corrected by the Date headers of its answers.

    `ours` returns our time of day in epoch seconds. `steady` returns the seconds of a clock that is never set.
    """

    def __init__(self, *, ours: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self.steady = steady
        self._ours = ours
        self._known: Bounds | None = None
        self._text = ""
        self._date: float | None = None

    def now(self) -> float:
        if self._known is None:
            return self._ours()
        return time_at(self._known, ours=self._ours(), steady=self.steady())

    def reached(self) -> float:
        return self._ours() if self._known is None else self._known.low + self.steady()

    def correct(self, date: str | None, *, asked_at: float) -> None:
        """Correct the clock by the Date header of an answer that has just come.

        The request was sent at `asked_at`, on the steady clock. A missing or implausible Date changes nothing.
        """
        if date is None:
            return
        if date != self._text:  # many answers of one second have the same Date
            self._text, self._date = date, parsed_date(date)
        if self._date is None:
            return
        now = self.steady()
        new = bounds(self._date, asked_at=asked_at, answered_at=now)
        if is_plausible(new, ours=self._ours(), steady=now):
            self._known = narrowed(self._known, new)
