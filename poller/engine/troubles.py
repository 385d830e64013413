"""Which operations of a service fail now, why, and since when?

Each kind of call has its own trouble, from its first failure to its next success.
A mapping shows all of them as one: the earliest beginning, the highest number of tries, the earliest next try.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.model.status import Health, MappingState


class Trouble(NamedTuple):
    """One failing kind of call: why, since when, its tries in a row, and the next try. Times are in epoch seconds."""

    reason: str
    since: float
    attempt: int
    next_try: float


class Troubles:
    """The troubles of one mapping with one service."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Trouble] = {}

    def __bool__(self) -> bool:
        return bool(self._by_kind)

    @property
    def reasons(self) -> list[str]:
        """Each different reason once, the oldest trouble first."""
        return list(dict.fromkeys(trouble.reason for trouble in self._by_kind.values()))

    def failed(self, kind: str, reason: str, *, now: float, retry_in: float) -> None:
        before = self._by_kind.get(kind)
        self._by_kind[kind] = Trouble(
            reason,
            since=now if before is None else before.since,
            attempt=1 if before is None else before.attempt + 1,
            next_try=now + retry_in,
        )

    def end(self, kind: str) -> bool:
        """Whether there was a trouble of this kind."""
        return self._by_kind.pop(kind, None) is not None

    def clear(self) -> None:
        self._by_kind.clear()

    def health(self, state: MappingState, reason: str | None) -> Health:
        """Only while there are troubles."""
        troubles = self._by_kind.values()
        return Health(
            state,
            reason,
            since=min(trouble.since for trouble in troubles),
            attempt=max(trouble.attempt for trouble in troubles),
            next_try=min(trouble.next_try for trouble in troubles),
        )
