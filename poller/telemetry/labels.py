"""May this value be a label? Error codes and reasons come from outside, and the number of time series must stay small.

A known value may always be one.
Another value may be one if it looks like a name, as long as there are few of them; the rest becomes "other", and the
log has the details.
The form matters because a function chooses its error types itself, and a careless one may put data into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

OTHER = "other"
MAX_UNKNOWN_VALUES = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


class BoundedValues:
    """The values that a label may have: the known ones, and `MAX_UNKNOWN_VALUES` others that look like names."""

    def __init__(self, known: Iterable[str]) -> None:
        self._admitted = {*known, OTHER}
        self._limit = len(self._admitted) + MAX_UNKNOWN_VALUES

    def admit(self, value: str) -> str:
        """The value itself, or "other"."""
        if value in self._admitted:
            return value
        if len(self._admitted) >= self._limit or not _NAME.fullmatch(value):
            return OTHER
        self._admitted.add(value)
        return value
