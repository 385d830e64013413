"""What happens to a mapping as a whole?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName, MappingName


@declare(Line("info"))
class MappingReady(NamedTuple):
    """The mapping has found its source and polls it.

    `visibility_timeout_in_seconds` is what each ReceiveMessage asks for; a stream has none.
    `advice` is a warning if the visibility timeout in the queue's own settings is too short.
    """

    mapping: MappingName
    source: str
    function: FunctionName
    visibility_timeout_in_seconds: int | None = None
    advice: str | None = None


@declare(Line("warning", once_per=("mapping",)))
class MappingWaiting(NamedTuple):
    """The mapping begins to wait, because its function is throttled, cannot be reached, started or invoked at all."""

    mapping: MappingName
    function: FunctionName
    reason: str


@declare(Line("info", once_per=("mapping",)))
class MappingWaitEnded(NamedTuple):
    """The function runs again, `waited_seconds` after the mapping began to wait for it."""

    mapping: MappingName
    function: FunctionName
    waited_seconds: float


@declare(Line("info"))
class MappingPausedByRequest(NamedTuple):
    """A person has paused the mapping: it finishes the batches in hand, and polls nothing until a person resumes it."""

    mapping: MappingName


@declare(Line("info"))
class MappingResumedByRequest(NamedTuple):
    """A person has resumed the mapping, so it polls again."""

    mapping: MappingName


@declare(
    Line("error"),
    Counter("poller_mapping_crashes_total", "Times that a fault of poller itself stopped a mapping.", of="mapping").by(
        1
    ),
)
class MappingCrashed(NamedTuple):
    """A fault of poller itself stopped the mapping, which starts again in `retry_in_seconds`; other mappings go on."""

    mapping: MappingName
    error: BaseException
    retry_in_seconds: float
