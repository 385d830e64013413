"""How is a mapping doing? What the readiness page and the gauges show of one mapping at one moment."""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.model.ids import FunctionName, MappingName

MappingState = Literal["starting", "ready", "troubled", "disabled", "stopping"]


class MappingStatus(NamedTuple):
    """`reason` says in a sentence why a mapping is not ready, None where it is.

    A mapping that was ready once and lost its source is `troubled`; one that has not yet found it is `starting`.
    `messages_held` counts messages received and not finished; `concurrency_limit` is where AIMD stands now.
    """

    mapping: MappingName
    function: FunctionName
    source: str
    state: MappingState
    reason: str | None
    polls_in_flight: int
    batches_in_flight: int
    messages_held: int
    concurrency_limit: int
