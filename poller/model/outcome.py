"""What did an invocation do to its batch? The outcomes that the engine acts on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Every record is done."""


@dataclass(frozen=True, slots=True)
class PartlyFailed:
    """The function named records that failed; `failed` holds their identifiers, never empty, all of this batch."""

    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Failed:
    """The whole batch failed. `reason` is one bounded word or error type; `detail` is for a person.

    `may_still_run` says that the function may not have ended.
    """

    reason: str
    detail: str = ""
    may_still_run: bool = False


@dataclass(frozen=True, slots=True)
class Postponed:
    """The function never saw the batch; it is offered again unchanged, after `retry_after` seconds if given.

    `reason` is short and bounded; `detail` is for a person.
    """

    reason: str
    retry_after: float | None
    is_throttle: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Oversized:
    """The function never saw the batch, because its event is too large; it has several records, and is halved."""

    reason: str


Outcome = Succeeded | PartlyFailed | Failed | Postponed | Oversized
