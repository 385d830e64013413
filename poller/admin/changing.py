"""How does a client change something? It sends one POST for each change; the answer comes when the change is made.

    POST /api/reload   {}                        read the settings file again, and apply what changed
                       {"function": NAME}        run the function's next invocations in new child processes
    POST /api/pause    {"mapping": NAME}         pause the mapping until it is resumed, also after a restart
    POST /api/resume   {"mapping": NAME}         end the pause
                       "settings": FILE          in addition: refuse the change if the daemon runs another file

    200   the change is made; the body says what changed
    400   the body is not such an object
    409   the daemon cannot do that now, or for this file, function or mapping; `error` says why
    415   the body has a Content-Encoding
    422   the settings file is faulty; `faults` lists every fault, and the daemon keeps its settings

An empty body counts as {}.  Each answer is a JSON object.
A change continues if the client closes its connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from poller.errors import PollerError, SettingsError

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


class Answer(NamedTuple):
    status: int
    body: Mapping[str, Any]


async def reload(changes: Changes, body: bytes) -> Answer:
    """Return the answer to POST /api/reload."""
    asked = _asked(body, "function")
    if asked is None:
        return Answer(400, {"error": "the body must be a JSON object with no other keys than function and settings"})
    function, settings = asked.get("function"), asked.get("settings")
    if function is None:
        return await _answered(changes.reload(settings=settings))
    return await _answered(changes.restart_function(function, settings=settings))


async def pause(changes: Changes, body: bytes) -> Answer:
    """Return the answer to POST /api/pause."""
    return await _changed_mapping(changes.pause, body)


async def resume(changes: Changes, body: bytes) -> Answer:
    """Return the answer to POST /api/resume."""
    return await _changed_mapping(changes.resume, body)


class _ChangeOfMapping(Protocol):
    def __call__(self, mapping: str, *, settings: str | None) -> Awaitable[Mapping[str, Any]]: ...


async def _changed_mapping(change: _ChangeOfMapping, body: bytes) -> Answer:
    asked = _asked(body, "mapping")
    if asked is None or "mapping" not in asked:
        return Answer(400, {"error": "the body must be a JSON object with mapping, and no other key than settings"})
    return await _answered(change(asked["mapping"], settings=asked.get("settings")))


async def _answered(change: Awaitable[Mapping[str, Any]]) -> Answer:
    try:
        return Answer(200, await change)
    except SettingsError as error:
        return Answer(
            422, {"error": "the settings file has faults; the daemon keeps its settings", "faults": error.faults}
        )
    except PollerError as error:
        return Answer(409, {"error": str(error)})


def _asked(body: bytes, subject: str) -> dict[str, str] | None:
    """Return the body's object, or None if it is no object of texts, or has other keys than `subject` and settings."""
    try:
        asked = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(asked, dict) or not asked.keys() <= {subject, "settings"}:
        return None
    return asked if all(isinstance(value, str) for value in asked.values()) else None
