"""May this value be a label? Error codes and reasons come from outside; the set of time series must stay small.

Known values always may.
Others may while there are few of them and they look like names; the rest is "other", and the log has the details.
A function chooses its error types itself, so that a careless one could put data into them: hence the look at the form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

OTHER = "other"
MAX_UNKNOWN_VALUES = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


class BoundedValues:
    """The values one label may take: the known ones, and the first `MAX_UNKNOWN_VALUES` others that look like names."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = (*known, OTHER)
        self._admitted = set(self.known)
        self._limit = len(self._admitted) + MAX_UNKNOWN_VALUES

    def admit(self, value: str) -> str:
        """The value itself, or "other"."""
        if value in self._admitted:
            return value
        if len(self._admitted) >= self._limit or not _NAME.fullmatch(value):
            return OTHER
        self._admitted.add(value)
        return value
