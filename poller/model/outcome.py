"""What does the answer to an invocation mean for its batch? It is one of five outcomes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function processed every record of the batch."""


@dataclass(frozen=True, slots=True)
class PartlyFailed:
    """Some records failed. `failed` has their identifiers: at least one, and each belongs to a record of this batch."""

    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Failed:
    """The whole batch failed. `reason` is an error type or another short word; `detail` is for a person.

    `may_still_run` is true if the function may still be running.
    """

    reason: str
    detail: str = ""
    may_still_run: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """The function did not get the batch. The unchanged batch is tried again.

    `retry_after` is the pause in seconds that the function's service asked for, or None.
    `is_throttle` is true if the function is throttled, and false if it cannot be reached.
    `reason` is a short text from a small set; `detail` is for a person.
    """

    reason: str
    retry_after: float | None
    is_throttle: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Oversized:
    """The function did not get the batch, because the event is too large.

    The batch has several records and is split in two.
    """

    reason: str


Outcome = Succeeded | PartlyFailed | Failed | Postponed | Oversized
