"""Which values may a label have? Error codes and reasons come from outside, but the number of series must stay small.

A label may have all known values, and the first few other values that look like names.
Every further value becomes "other". The log has the details.
A value must look like a name, because a function chooses its error types itself and may put data into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

OTHER = "other"
MAX_UNKNOWN_VALUES = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


class BoundedValues:
    """The values that a label may have: all known ones, and up to `MAX_UNKNOWN_VALUES` others that look like names."""

    def __init__(self, known: Iterable[str]) -> None:
        self._admitted = {*known, OTHER}
        self._limit = len(self._admitted) + MAX_UNKNOWN_VALUES

    def admit(self, value: str) -> str:
        """Return the value if the label may have it, else "other"."""
        if value in self._admitted:
            return value
        if len(self._admitted) >= self._limit or not _NAME.fullmatch(value):
            return OTHER
        self._admitted.add(value)
        return value
