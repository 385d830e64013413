"""Which calls to a source or to the position store fail now, why, and since when?

Each kind of call has a trouble of its own, from its first failure to its next success.
A mapping's status has all troubles in one: the earliest start, the highest number of tries, and the earliest next try.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.errors import ServiceError
from poller.model.status import Health, MappingState

SHOWN_TROUBLES = 3
"""How many different troubles a reason names. Further troubles are only counted."""


class Trouble(NamedTuple):
    """A kind of call that fails now. `attempt` is the number of failures in a row.

    `since` and `next_try` are epoch seconds.
    """

    operation: str
    error: str
    since: float
    attempt: int
    next_try: float


class Troubles:
    """The troubles of one mapping with its source or with the position store, or of a function's events."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Trouble] = {}

    def __bool__(self) -> bool:
        return bool(self._by_kind)

    @property
    def reason(self) -> str:
        """Return all errors in one text, the oldest first. Each stands once, after the operations that fail with it."""
        operations: dict[str, set[str]] = {}
        for trouble in self._by_kind.values():
            operations.setdefault(trouble.error, set()).add(trouble.operation)
        different = [f"{', '.join(sorted(names))}: {error}" for error, names in operations.items()]
        more = f"; and {len(different) - SHOWN_TROUBLES} more" if len(different) > SHOWN_TROUBLES else ""
        return "; ".join(different[:SHOWN_TROUBLES]) + more

    def failed(self, kind: str, operation: str, error: str, *, now: float, retry_in: float) -> None:
        before = self._by_kind.get(kind)
        self._by_kind[kind] = Trouble(
            operation,
            error,
            since=now if before is None else before.since,
            attempt=1 if before is None else before.attempt + 1,
            next_try=now + retry_in,
        )

    def next_try_of(self, kind: str) -> float | None:
        """Return when this kind of call is tried again, or None if it has no trouble."""
        trouble = self._by_kind.get(kind)
        return None if trouble is None else trouble.next_try

    def end(self, kind: str) -> bool:
        """End the trouble of this kind of call. Return False if there was none."""
        return self._by_kind.pop(kind, None) is not None

    def clear(self) -> None:
        self._by_kind.clear()

    def health(self, state: MappingState, reason: str | None) -> Health:
        """Return one health for all troubles. There must be at least one."""
        troubles = self._by_kind.values()
        return Health(
            state,
            reason,
            since=min(trouble.since for trouble in troubles),
            attempt=max(trouble.attempt for trouble in troubles),
            next_try=min(trouble.next_try for trouble in troubles),
        )


def in_words(error: ServiceError) -> str:
    """Return one text with the error's code and its message. A code in the message is not repeated."""
    text = str(error)
    return text if text.startswith(error.code) else f"{error.code}: {text}"
