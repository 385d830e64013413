"""What happens to a mapping as a whole?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import FunctionName, MappingName


@declare(Line("info"))
class MappingReady(NamedTuple):
    """The mapping has found its source and now polls it.

    `visibility_timeout_in_seconds` is the timeout that each ReceiveMessage asks for. It is None for a stream.
    `advice` is a warning if the visibility timeout in the queue's own settings is too short.
    """

    mapping: MappingName
    source: str
    function: FunctionName
    visibility_timeout_in_seconds: int | None = None
    advice: str | None = None


@declare(Line("warning", once_per=("mapping",)))
class MappingWaiting(NamedTuple):
    """The mapping waits until its function can be invoked. `reason` says why this is not possible now: for example, the
    function is throttled, cannot be reached or cannot start.
    """

    mapping: MappingName
    function: FunctionName
    reason: str


@declare(Line("info", once_per=("mapping",)))
class MappingWaitEnded(NamedTuple):
    """The mapping's function runs again, after the mapping has waited for it for `waited_seconds`."""

    mapping: MappingName
    function: FunctionName
    waited_seconds: float


@declare(Line("info"))
class MappingPausedByRequest(NamedTuple):
    """A person has paused the mapping. It finishes the batches in hand, and polls nothing until a person resumes it."""

    mapping: MappingName


@declare(Line("info"))
class MappingBeginsPaused(NamedTuple):
    """The mapping begins paused, at the start of the daemon or after a reload has added it, because a person has paused
    a mapping of this name before. It polls nothing until a person resumes it.
    """

    mapping: MappingName


@declare(Line("warning"))
class MappingBeginsAnew(NamedTuple):
    """The mapping begins at its starting position, although the state has positions of its stream under the name
    `former`, which no mapping of the file has. The mapping may have been renamed; `advice` says how it continues at
    these positions. If `former_is_paused`, the pause belongs to the name, too, so the mapping is not paused.
    """

    mapping: MappingName
    former: MappingName
    former_is_paused: bool
    advice: str


@declare(Line("info"))
class MappingResumedByRequest(NamedTuple):
    """A person has resumed the mapping, so it polls again."""

    mapping: MappingName


@declare(Line("info"))
class KclTableWatched(NamedTuple):
    """A KCL application owns leases in the mapping's `kcl_table`. It may run, so the mapping begins only if none of
    them is renewed for `watched_in_seconds`. The table may still name an application that has stopped, so the mapping
    usually waits at its first start. Leases that workers of poller own are not watched.
    """

    mapping: MappingName
    table: str
    leases: int
    watched_in_seconds: float


@declare(Line("error", once_per=("mapping",)))
class MappingCannotRun(NamedTuple):
    """The mapping cannot run now, because its `kcl_table` or the state cannot be used, and `reason` says why. It tries
    again in `retry_in_seconds`. Other mappings continue.
    """

    mapping: MappingName
    reason: str
    retry_in_seconds: float


@declare(
    Line("error"),
    Counter(
        "poller_mapping_crashes_total",
        "Times that a fault in poller itself stopped a mapping.",
        of="mapping",
    ).by(1),
)
class MappingCrashed(NamedTuple):
    """A fault in poller itself stopped the mapping, and `exception` says which. The mapping starts again in
    `retry_in_seconds`. Other mappings continue.
    """

    mapping: MappingName
    error: BaseException
    retry_in_seconds: float
