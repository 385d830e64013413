"""How does a client change something? One POST for each kind of change, answered when the change is made.

    POST /api/reload   {}                        read the settings file again, and apply what changed
                       {"function": NAME}        start the child processes of this function anew
                       "settings": FILE          beside either: refuse, unless the daemon runs this file

    200   what was changed
    400   the body is not such an object
    409   the daemon cannot do that now, or for this file or function; `error` says why
    422   the file is faulty: `faults` lists every fault; the daemon keeps the settings that it has

An empty body counts as {}.  Each answer is a JSON object.
What a client asked for goes on if the client hangs up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from poller.errors import PollerError, SettingsError

LONGEST_SECONDS = 2 * 3600.0
"""How long a change may take: what it replaces may run on for the grace, and another change may be made before it."""

MAXIMUM_BODY_BYTES = 64 * 1024


class Changes(Protocol):
    """What the daemon does for a client. Each call raises PollerError if it is refused."""

    async def reload(self, *, settings: str | None) -> Mapping[str, Any]:
        """Raises SettingsError for a faulty file. `settings` is the file that the client means."""
        ...

    async def restart_function(self, name: str, *, settings: str | None) -> Mapping[str, Any]: ...


class Answer(NamedTuple):
    status: int
    body: Mapping[str, Any]


async def reload(changes: Changes, body: bytes) -> Answer:
    """The answer to POST /api/reload."""
    asked = _asked(body)
    if asked is None:
        return Answer(400, {"error": "the body must be a JSON object with no other keys than function and settings"})
    function, settings = asked.get("function"), asked.get("settings")
    try:
        if function is None:
            return Answer(200, await changes.reload(settings=settings))
        return Answer(200, await changes.restart_function(function, settings=settings))
    except SettingsError as error:
        return Answer(422, {"error": "the settings are faulty; the old ones stay in use", "faults": error.faults})
    except PollerError as error:
        return Answer(409, {"error": str(error)})


def _asked(body: bytes) -> dict[str, str] | None:
    try:
        asked = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(asked, dict) or not asked.keys() <= {"function", "settings"}:
        return None
    return asked if all(isinstance(value, str) for value in asked.values()) else None
