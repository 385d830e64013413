"""How does a command ask the running daemon? By one request to its control socket, with a JSON answer.

settings file ── [daemon] state ──> control socket beside the settings or the state file ──> the daemon

Several daemons may share a state file, and one of them listens beside it. So the command first asks the daemon which
settings file it runs. If it is another file, most commands end: they would show or change the wrong daemon.
A command that can also work without a daemon asks `running_daemon`, and works without one then.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poller.admin.changing import LONGEST_SECONDS
from poller.admin.control import DAEMON_PATH, control_paths, path_for_commands
from poller.cli.ending import exit_on_failure, refused
from poller.settings.loading import state_of

LONGEST_LOOK_IN_SECONDS = 5.0
"""How long a command waits until a daemon says which settings it runs. A daemon that works says it in milliseconds."""


class ControlConnection(http.client.HTTPConnection):
    """A connection to a Unix socket. Its timeout is long, because the daemon answers only when the change is made."""

    def __init__(self, path: Path, seconds: float = LONGEST_SECONDS) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def socket_of(config: Path) -> Path:
    """Return the path of the daemon's socket.

    Ends the program if the file's `state` has a fault, or if a daemon with another settings file listens there.
    """
    with exit_on_failure(config):
        state = state_of(config, os.environ)
        path = path_for_commands(state, config)
    if path != control_paths(state, config)[-1]:  # at the one beside the settings file, no other daemon can listen
        _refuse_another_daemon(path, config)
    return path


def running_daemon(config: Path, state: str) -> Path | None:
    """Return the path of the socket of the daemon that runs this settings file, or None if no daemon runs it.

    `state` is [daemon] state, as an absolute address.
    A daemon that does not answer within a few seconds counts as none: the leases of its shards protect them.
    """
    path = path_for_commands(state, config)
    daemon = _daemon_at(path, seconds=LONGEST_LOOK_IN_SECONDS)
    return path if daemon.get("settings") == str(config.resolve()) else None


def _refuse_another_daemon(path: Path, config: Path) -> None:
    """End the program if a daemon with another settings file listens at the path."""
    daemon = _daemon_at(path)
    theirs = daemon.get("settings")
    if theirs is not None and theirs != str(config.resolve()):
        why = f"the daemon that shares its state (process {daemon.get('process')}) runs {theirs}"
        raise refused(f"no daemon runs {config}: {why}; ask it with -c {theirs}", code=1)


def _daemon_at(path: Path, *, seconds: float = LONGEST_SECONDS) -> Mapping[str, Any]:
    """Return what the daemon at this path says about itself: nothing if no daemon listens, or something else does."""
    connection = ControlConnection(path, seconds)
    try:
        connection.request("GET", DAEMON_PATH)
        daemon = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return daemon if isinstance(daemon, dict) else {}


class NoAnswer(Exception):
    """No daemon answers. The text says why. `asked` and `poller status --watch` catch it."""


def asked(
    path: Path, method: str, page: str, body: Mapping[str, object] | None = None, *, advice: str = ""
) -> tuple[int, dict[str, Any]]:
    """Return the status code and the body of the daemon's answer. Ends the program if no daemon answers.

    `advice` says what else to do if no daemon listens.
    """
    try:
        return answer(path, method, page, body)
    except NoAnswer as error:
        raise refused(f"{error}{advice if isinstance(error, NoDaemon) else ''}", code=1) from None


class NoDaemon(NoAnswer):
    """No daemon listens at the socket."""


def answer(path: Path, method: str, page: str, body: Mapping[str, object] | None = None) -> tuple[int, dict[str, Any]]:
    """Return the status code and the body of the daemon's answer. Raises NoAnswer if no daemon answers.

    Another program may listen at the socket, and a fault of the daemon has an answer that is not JSON.
    """
    connection = ControlConnection(path)
    try:
        connection.request(method, page, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        found = json.loads(reply.read())
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon(f"no daemon listens at {path}: start it with `poller run`") from None
    except (http.client.HTTPException, ConnectionError):
        raise NoAnswer("the daemon ended before it answered") from None
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}") from None
    except ValueError:
        found = None
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise NoAnswer(f"{path}: the answer ({reply.status}) is not a JSON object; see the log of the daemon")
    return reply.status, found
