"""How does a client change something? It sends one POST for each change; the answer comes when the change is made.

calls.py has the changes.

    200   the change is made; the body says what changed
    400   the body is not such an object
    409   the daemon cannot do that now, or for this file, function, mapping, shard or event; `error` says why.
          If only some workers have made the change, `error` names the others, and the log has the change
    415   the body has a Content-Encoding
    422   the settings file is faulty; `faults` lists every fault, and the daemon keeps its settings

An empty body counts as {}.  Each answer is a JSON object.
A change continues if the client closes its connection. The log names each change, and who has asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poller.errors import CannotChange, PartlyChanged, PollerError, SettingsError
from poller.facts import ChangeMade, Emit
from poller.model.event import EventAction
from poller.model.move import MoveOrder
from poller.model.order import ShardOrder

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

    async def positions(self, mapping: str) -> Mapping[str, Any]:
        """Return the stored positions of a mapping. It changes nothing."""
        ...

    async def move(self, mapping: str, order: MoveOrder, *, settings: str | None) -> Mapping[str, Any]: ...

    async def stuck_events(self, function: str) -> Mapping[str, Any]:
        """Return the stuck events of a function. It changes nothing."""
        ...

    async def change_events(
        self,
        function: str,
        action: EventAction,
        request_id: str | None,
        *,
        drops_waiting: bool = False,
        settings: str | None,
    ) -> Mapping[str, Any]:
        """Retry or drop one stuck event, or all stuck events of the function if `request_id` is None.

        With `drops_waiting`, a drop also removes events that wait.
        """
        ...


class Body(BaseModel):
    """The body of a change. Each key is a member of a JSON object."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    settings: str | None = Field(None, description="The settings file that the client means.")


B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[B]):
    """One call that changes something. `answer` is the class of its answer.

    `fact` returns the fact for the log, or None if nothing was changed. Its arguments are the body, the answer, and who
    has asked for the change.
    """

    path: str
    summary: str
    body: type[B]
    answer: type[BaseModel]
    make: Callable[[Changes, B], Awaitable[Mapping[str, Any]]]
    fact: Callable[[B, Mapping[str, Any], str], ChangeMade | None]


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
    except PartlyChanged as error:
        if (fact := call.fact(asked, error.answer, by)) is not None:
            emit(fact._replace(incomplete=str(error)))
        return Answer(409, {"error": str(error)})
    except PollerError as error:
        return Answer(409, {"error": str(error)})
    if (fact := call.fact(asked, answer, by)) is not None:
        emit(fact)
    return Answer(200, answer)


def refuse_another_file(meant: str | None, own: Path) -> None:
    """Raise CannotChange if the client means another settings file than the daemon's own file.

    If `meant` is None, the client means the daemon's own file.

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
