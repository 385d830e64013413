"""How much work waits for the workers? The answers for an autoscaler, such as KEDA's metrics-api scaler, and for pages.

    GET /api/scaling                    all mappings
    GET /api/scaling/mappings/NAME      one mapping
    GET /api/scaling/functions/NAME     all mappings that invoke the function, and its asynchronous events
    GET /api/queues                     how many messages the queue of each mapping has

    200   the numbers of `model.backlog.Backlog`: {"seconds_to_catch_up": 12.5, "shards": 4, "messages_waiting": 0,
          "events_waiting": 0}
    404   there is no such mapping, or no mapping invokes the function and it has no events
    503   the numbers are unknown now; `error` says why. The autoscaler then leaves the number of workers as it is

/api/queues has no error: it has the last answer of each queue, or the reason why the daemon has none:

    {"queues": {"orders": {"visible": 120, "in_flight": 8, "delayed": 0, "unknown": null},
                "bills": {"visible": null, "in_flight": null, "delayed": null,
                          "unknown": "GetQueueAttributes: the queue does not exist"}}}

The names stand in the path, because KEDA drops the query of a url when it asks each pod of a service.

Source: KEDA, "Metrics API" scaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from poller.core.backlog import Known, KnownDepth
from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.ids import MappingName


class Backlogs(Protocol):
    """Tells how much work waits (`engine.backlogs.Backlogs`). None means that there is no such mapping.

    `depths` returns the last known depth of each mapping's queue. It asks some of the queues again, and waits for at
    most a second.
    """

    async def of_daemon(self) -> Known: ...

    async def of_mapping(self, name: str, /) -> Known | None: ...

    async def of_function(self, name: str, /) -> Known | None: ...

    async def depths(self) -> Mapping[MappingName, KnownDepth]: ...


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
            return Answer(
                404, {"error": "there is no such mapping, or no mapping invokes the function and it has no events"}
            )


def queues_report(depths: Mapping[MappingName, KnownDepth]) -> dict[str, Any]:
    """Return the body of /api/queues."""
    return {"queues": {name: entry_of_queue(depth) for name, depth in depths.items()}}


def entry_of_queue(depth: KnownDepth) -> dict[str, Any]:
    match depth:
        case QueueDepth():
            return {**depth._asdict(), "unknown": None}
        case UnknownBacklog(reason=reason):
            return {**dict.fromkeys(QueueDepth._fields), "unknown": reason}


def read_queues(body: Mapping[str, Any]) -> Mapping[MappingName, KnownDepth]:
    """Return the depths from which `queues_report` has made the body."""
    return {MappingName(name): _depth(entry) for name, entry in body["queues"].items()}


def _depth(entry: Mapping[str, Any]) -> KnownDepth:
    reason = entry["unknown"]
    return UnknownBacklog(reason) if reason else QueueDepth(*(entry[field] for field in QueueDepth._fields))
