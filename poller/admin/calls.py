"""Which changes can a client ask for? `CALLS` has all of them. The routes and the API's description are made from it.

POST /api/reload   {}                        read the settings file again, and apply what changed
                   {"function": NAME}        run the function's next invocations in new child processes
POST /api/pause    {"mapping": NAME}         pause the mapping until it is resumed, also after a restart
POST /api/resume   {"mapping": NAME}         end the pause
POST /api/shard    {"mapping": NAME, "shard": ID, "action": "retry" | "bisect" | "discard",
                    "start_sequence_number": NUMBER, "end_sequence_number": NUMBER}
                                             take the next step of the batch that blocks the shard (model/order.py);
                                             the numbers are those of the batch in /api/status
POST /api/position {"mapping": NAME, "position": TEXT, "shard": ID, "after": true}
                                             move the stored positions of a paused mapping (model/move.py)
                   "only_shows": true        in addition: move nothing, and answer what the move would do
                   "version": TEXT           in addition: refuse the move if the positions have changed since
POST /api/event    {"function": NAME, "action": "retry" | "drop", "request_id": ID or null}
                                             retry or drop one stuck event, or all of the function
                   "drops_waiting": true     in addition: drop events that wait, too
                   "settings": FILE          in addition, for each call: refuse the change if the daemon runs
                                             another file
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from poller.admin import answers
from poller.admin.changing import Body, Call, Changes
from poller.facts import ChangeMade
from poller.model.event import EventAction
from poller.model.ids import FunctionName, MappingName
from poller.model.move import MoveOrder
from poller.model.order import Action, ShardOrder
from poller.model.stream import SequenceNumber, ShardId


class ReloadBody(Body):
    function: str | None = Field(None, description="The function that gets new child processes.")


class MappingBody(Body):
    mapping: str = Field(description="A key of [mappings].")


class ShardBody(MappingBody):
    shard: str = Field(description="The id of the blocked shard.")
    action: Action = Field(description="The next step of the batch that blocks the shard.")
    start_sequence_number: str | None = Field(description="The first record of the batch; null if it has no records.")
    end_sequence_number: str | None = Field(description="The last record of the batch; null if it has no records.")

    @property
    def order(self) -> ShardOrder:
        start, end = self.start_sequence_number, self.end_sequence_number
        return ShardOrder(
            self.action,
            ShardId(self.shard),
            None if start is None else SequenceNumber(start),
            None if end is None else SequenceNumber(end),
        )


class PositionBody(MappingBody):
    position: str = Field(
        description="TRIM_HORIZON, LATEST, a time as in 2026-01-31T12:00:00Z or in seconds since 1970, 10m for ten "
        "minutes ago (s, m, h, d), or the sequence number of a record. For one shard, every whole number is a sequence "
        "number."
    )
    shard: str | None = Field(None, description="Move only this shard; a sequence number needs it.")
    after: bool = Field(False, description="Continue after the record with this sequence number, not at it.")
    only_shows: bool = Field(False, description="Change nothing: the answer says what the move would do.")
    version: str | None = Field(None, description="Refuse the move if the positions have another version by now.")

    @property
    def order(self) -> MoveOrder:
        shard = None if self.shard is None else ShardId(self.shard)
        return MoveOrder(self.position, shard, self.after, self.only_shows, self.version)


class EventsBody(Body):
    function: str = Field(description="A key of [functions].")
    action: EventAction = Field(description="Try the deliveries again at once, or remove the event for good.")
    request_id: str | None = Field(min_length=1, description="The request id of one stuck event; null for all of them.")
    drops_waiting: bool = Field(False, description="Drop events that wait, too, unless a daemon has claimed them.")


async def _reload(changes: Changes, body: ReloadBody) -> Mapping[str, Any]:
    if body.function is None:
        return await changes.reload(settings=body.settings)
    return await changes.restart_function(body.function, settings=body.settings)


def _reloaded(body: ReloadBody, _answer: Mapping[str, Any], by: str) -> ChangeMade:
    return ChangeMade("reload" if body.function is None else f"restart of the function {body.function}", by)


async def _pause(changes: Changes, body: MappingBody) -> Mapping[str, Any]:
    return await changes.pause(body.mapping, settings=body.settings)


def _paused(body: MappingBody, answer: Mapping[str, Any], by: str) -> ChangeMade | None:
    if answer["was_paused"]:
        return None
    return ChangeMade("pause", by, before="not paused", mapping=MappingName(body.mapping))


async def _resume(changes: Changes, body: MappingBody) -> Mapping[str, Any]:
    return await changes.resume(body.mapping, settings=body.settings)


def _resumed(body: MappingBody, answer: Mapping[str, Any], by: str) -> ChangeMade | None:
    if not answer["was_paused"]:
        return None
    return ChangeMade("resume", by, before="paused", mapping=MappingName(body.mapping))


async def _order(changes: Changes, body: ShardBody) -> Mapping[str, Any]:
    return await changes.order(body.mapping, body.order, settings=body.settings)


def _ordered(body: ShardBody, answer: Mapping[str, Any], by: str) -> ChangeMade:
    return ChangeMade(
        body.action,
        by,
        before=f"blocked by {answer['reason']} since {answer['blocked_since']}",
        mapping=MappingName(body.mapping),
        shard=body.shard,
        records=answer["records"],
        start_sequence_number=body.start_sequence_number,
        end_sequence_number=body.end_sequence_number,
    )


async def _move(changes: Changes, body: PositionBody) -> Mapping[str, Any]:
    return await changes.move(body.mapping, body.order, settings=body.settings)


def _moved(body: PositionBody, answer: Mapping[str, Any], by: str) -> ChangeMade | None:
    if body.only_shows:
        return None
    return position_moved(MappingName(body.mapping), body.order, answer["shard"], answer["before"], by)


def position_moved(mapping: MappingName, order: MoveOrder, shard: str | None, before: str, by: str) -> ChangeMade:
    """Return the fact for the log. A command that changes the state itself logs the same fact."""
    to = f"{'after ' if order.is_after else ''}{order.to}"
    return ChangeMade(f"move to {to}", by, before=before, mapping=mapping, shard=shard)


async def _change_events(changes: Changes, body: EventsBody) -> Mapping[str, Any]:
    return await changes.change_events(
        body.function, body.action, body.request_id, drops_waiting=body.drops_waiting, settings=body.settings
    )


def events_changed(body: EventsBody, answer: Mapping[str, Any], by: str) -> ChangeMade:
    """Return the fact for the log. A command that changes the file of events itself logs the same fact."""
    which = "stuck or waiting" if body.action == "drop" and body.drops_waiting else "stuck"
    return ChangeMade(
        f"{body.action} of {which} events",
        by,
        before=which,
        function=FunctionName(body.function),
        request_id=body.request_id,
        events=answer["events"],
    )


CALLS: tuple[Call[Any], ...] = (
    Call(
        path="/api/reload",
        summary="Read the settings file again, or give a function new child processes.",
        body=ReloadBody,
        answer=answers.Reloaded,
        make=_reload,
        fact=_reloaded,
    ),
    Call(
        path="/api/pause",
        summary="Pause a mapping until it is resumed, also after a restart.",
        body=MappingBody,
        answer=answers.Pausing,
        make=_pause,
        fact=_paused,
    ),
    Call(
        path="/api/resume",
        summary="End the pause of a mapping.",
        body=MappingBody,
        answer=answers.Pausing,
        make=_resume,
        fact=_resumed,
    ),
    Call(
        path="/api/shard",
        summary="Take the next step of the batch that blocks a shard: retry, bisect or discard it now.",
        body=ShardBody,
        answer=answers.Ordered,
        make=_order,
        fact=_ordered,
    ),
    Call(
        path="/api/position",
        summary="Move the stored position of a paused mapping, or of one of its shards; or only show the effect.",
        body=PositionBody,
        answer=answers.PositionMoved,
        make=_move,
        fact=_moved,
    ),
    Call(
        path="/api/event",
        summary="Retry or drop stuck asynchronous events of a function.",
        body=EventsBody,
        answer=answers.EventsChanged,
        make=_change_events,
        fact=events_changed,
    ),
)
