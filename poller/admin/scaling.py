"""How much work waits for the workers? The answers for an autoscaler, such as KEDA's metrics-api scaler.

    GET /api/scaling                    all mappings
    GET /api/scaling/mappings/NAME      one mapping
    GET /api/scaling/functions/NAME     all mappings that invoke the function

    200   the numbers of `model.backlog.Backlog`: {"seconds_to_catch_up": 12.5, "shards": 4, "messages_waiting": 0}
    404   there is no such mapping, or no mapping that invokes the function
    503   the numbers are unknown now; `error` says why. The autoscaler then leaves the number of workers as it is

The names stand in the path, because KEDA drops the query of a url when it asks each pod of a service.

Source: KEDA, "Metrics API" scaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from poller.core.backlog import Known
from poller.model.backlog import Backlog, UnknownBacklog


class Backlogs(Protocol):
    """Tells how much work waits (`engine.backlogs.Backlogs`). None means that there is no such mapping."""

    async def of_daemon(self) -> Known: ...

    async def of_mapping(self, name: str, /) -> Known | None: ...

    async def of_function(self, name: str, /) -> Known | None: ...


class Answer(NamedTuple):
    status: int
    body: Mapping[str, Any]


def answer(backlog: Known | None) -> Answer:
    """Return the answer with this backlog."""
    match backlog:
        case Backlog():
            return Answer(200, backlog._asdict())
        case UnknownBacklog():
            return Answer(503, {"error": backlog.reason})
        case None:
            return Answer(404, {"error": "there is no such mapping, or no mapping that invokes the function"})
