"""How does a client change something? It sends one POST for each change; the answer comes when the change is made.

    POST /api/reload   {}                        read the settings file again, and apply what changed
                       {"function": NAME}        run the function's next invocations in new child processes
    POST /api/pause    {"mapping": NAME}         pause the mapping until it is resumed, also after a restart
    POST /api/resume   {"mapping": NAME}         end the pause
    POST /api/shard    {"mapping": NAME, "shard": ID, "action": "retry" | "bisect" | "discard",
                        "start_sequence_number": NUMBER, "end_sequence_number": NUMBER}
                                                 take the next step of the batch that blocks the shard (model/order.py);
                                                 the numbers are those of the batch in /api/status
                       "settings": FILE          in addition: refuse the change if the daemon runs another file

    200   the change is made; the body says what changed
    400   the body is not such an object
    409   the daemon cannot do that now, or for this file, function, mapping or shard; `error` says why
    415   the body has a Content-Encoding
    422   the settings file is faulty; `faults` lists every fault, and the daemon keeps its settings

An empty body counts as {}.  Each answer is a JSON object.
A change continues if the client closes its connection. The log names each change, and who has asked for it.
`CALLS` has all calls; the server's routes and the description of the API are made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poller.admin import answers
from poller.errors import CannotChange, PollerError, SettingsError
from poller.facts import ChangeMade, Emit
from poller.model.ids import MappingName
from poller.model.order import Action, ShardOrder
from poller.model.stream import SequenceNumber, ShardId

LONGEST_SECONDS = 2 * 3600.0
"""How long a change may take.

A change may wait for the change before it, and then for the grace, in which the mappings that it replaces drain.
"""

MAXIMUM_BODY_BYTES = 64 * 1024


class Changes(Protocol):
    """The changes that the daemon makes. Each method returns the body of the answer, or raises PollerError."""

    async def reload(self, *, settings: str | None) -> Mapping[str, Any]:
        """Read the settings file again and apply what changed. Raises SettingsError if it is faulty.

        `settings` is the file that the client means, or None for the file that the daemon runs.
        """
        ...

    async def restart_function(self, name: str, *, settings: str | None) -> Mapping[str, Any]: ...

    async def pause(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]: ...

    async def resume(self, mapping: str, *, settings: str | None) -> Mapping[str, Any]: ...

    async def order(self, mapping: str, order: ShardOrder, *, settings: str | None) -> Mapping[str, Any]: ...


class Body(BaseModel):
    """The body of a change. Each key is a member of a JSON object."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    settings: str | None = Field(None, description="The settings file that the client means.")


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


B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B]):
    """One call that changes something. `answer` is the class of its answer.

    `fact` returns the fact for the log. Its arguments are the body, the answer, and who has asked for the change.
    """

    path: str
    summary: str
    body: type[B]
    answer: type[BaseModel]
    make: Callable[[Changes, B], Awaitable[Mapping[str, Any]]]
    fact: Callable[[B, Mapping[str, Any], str], ChangeMade]


class Answer(NamedTuple):
    status: int
    body: Mapping[str, Any]


async def respond(call: Call[B], changes: Changes, body: bytes, *, by: str, emit: Emit) -> Answer:
    """Make the change, log it, and return the answer. `by` says who has asked for it (`requester.py`)."""
    try:
        asked = call.body.model_validate_json(body or b"{}")
    except ValidationError:
        return Answer(400, {"error": _shape_of(call.body)})
    try:
        answer = await call.make(changes, asked)
    except SettingsError as error:
        return Answer(
            422, {"error": "the settings file has faults; the daemon keeps its settings", "faults": error.faults}
        )
    except PollerError as error:
        return Answer(409, {"error": str(error)})
    emit(call.fact(asked, answer, by))
    return Answer(200, answer)


def refuse_another_file(meant: str | None, own: Path) -> None:
    """Raise CannotChange if the client means another settings file than the daemon's own. None means the own one.

    Symbolic links are resolved each time, because they may change.
    """
    if meant is None:
        return
    try:
        theirs, ours = Path(meant).resolve(), own.resolve()
    except (ValueError, OSError, RuntimeError):  # a NUL in the path, or links that lead in a circle
        raise CannotChange(f"this daemon runs {own}, not {meant!r}, which leads to no file") from None
    if theirs != ours:
        raise CannotChange(f"this daemon runs {ours}, not {meant}")


def _shape_of(body: type[Body]) -> str:
    """Return a text that says which bodies are valid. It contains no part of the body that was sent."""
    fields = body.model_fields
    required = ", ".join(name for name, field in fields.items() if field.is_required())
    optional = ", ".join(name for name, field in fields.items() if not field.is_required())
    beyond = f"no other key than {optional}"
    return (
        f"the body must be a JSON object with {required}, and {beyond}"
        if required
        else (f"the body must be a JSON object with {beyond}")
    )


async def _reload(changes: Changes, body: ReloadBody) -> Mapping[str, Any]:
    if body.function is None:
        return await changes.reload(settings=body.settings)
    return await changes.restart_function(body.function, settings=body.settings)


def _reloaded(body: ReloadBody, _answer: Mapping[str, Any], by: str) -> ChangeMade:
    return ChangeMade("reload" if body.function is None else f"restart of the function {body.function}", by)


async def _pause(changes: Changes, body: MappingBody) -> Mapping[str, Any]:
    return await changes.pause(body.mapping, settings=body.settings)


def _paused(body: MappingBody, answer: Mapping[str, Any], by: str) -> ChangeMade:
    return ChangeMade("pause", by, before=_before(answer), mapping=MappingName(body.mapping))


async def _resume(changes: Changes, body: MappingBody) -> Mapping[str, Any]:
    return await changes.resume(body.mapping, settings=body.settings)


def _resumed(body: MappingBody, answer: Mapping[str, Any], by: str) -> ChangeMade:
    return ChangeMade("resume", by, before=_before(answer), mapping=MappingName(body.mapping))


def _before(answer: Mapping[str, Any]) -> str:
    return "paused" if answer["was_paused"] else "not paused"


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
)
