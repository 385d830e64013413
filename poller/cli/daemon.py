"""How does a command ask the running daemon? By one request to its control socket, with a JSON answer.

    does a daemon listen beside the settings file? ── yes ──> this socket
                                                   └─ no ───> [daemon] state, from the file ──> the socket beside it

So a command reaches the daemon also while a person edits the file and it is not TOML. Only if no daemon listens beside
the file, the command reads it, and shows why it cannot be read.
Several daemons may share a state file, and one of them listens beside it. So the command first asks the daemon which
settings file it runs. If it is another file, most commands end: they would show or change the wrong daemon.
A link to the file counts as another file, because several daemons may run one file, each through a link of its own.
A daemon that does not answer this first question within some seconds hangs, so it gets no other question.
A command that can also work without a daemon calls `running_daemon`, which returns None if no daemon runs.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from poller.admin.changing import LONGEST_SECONDS
from poller.admin.control import DAEMON_PATH, path_at_start, path_for_commands
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
    """Return the path of the daemon's socket, also if no daemon listens there.

    Ends the program if `socket_or_fault` raises SettingsError, and for the reasons of `socket_or_fault`.
    """
    with exit_on_failure(config):
        return socket_or_fault(config)


def socket_or_fault(config: Path) -> Path:
    """Return the path of the daemon's socket, also if no daemon listens there.

    Raises SettingsError if no daemon listens beside the settings file, and the file does not say where the state is.
    Ends the program if a daemon with another settings file listens at the path, or if the daemon hangs.
    """
    path = path_for_commands(config, lambda: state_of(config, os.environ))
    try:
        status, daemon = answer(path, "GET", DAEMON_PATH, seconds=LONGEST_LOOK_IN_SECONDS)
    except NoDaemon:
        return path
    except NoAnswer as error:
        raise refused(str(error), code=1) from None
    if status not in (200, 404):  # an older daemon has no such page
        raise refused(f"{path}: the daemon does not say which settings file it runs: {daemon.get('error')}", code=1)
    theirs = daemon.get("settings")
    if theirs is not None and theirs != str(path_at_start(config)):
        why = f"the daemon that shares its state (process {daemon.get('process')}) runs {theirs}"
        raise refused(f"no daemon runs {config}: {why}; ask it with -c {theirs}", code=1)
    return path


def meant(config: Path) -> dict[str, str]:
    """Return the part of a change's body that says which settings file the daemon must run.

    It is empty if the path is not UTF-8, because JSON cannot hold such a path. The daemon was found by its path.
    """
    path = str(config.absolute())
    try:
        path.encode()
    except UnicodeEncodeError:
        return {}
    return {"settings": path}


class RunningDaemon(NamedTuple):
    """A daemon that runs: the path of its socket, and the address of its file of events, or None without one."""

    socket: Path
    event_queue: str | None


def running_daemon(config: Path, state: str) -> RunningDaemon | None:
    """Return the daemon that runs this settings file, or None if no daemon runs it.

    `state` is [daemon] state, as an absolute address.
    A daemon that does not answer within a few seconds counts as none: the leases of its shards protect them.
    """
    path = path_for_commands(config, lambda: state)
    try:
        _, daemon = answer(path, "GET", DAEMON_PATH, seconds=LONGEST_LOOK_IN_SECONDS)
    except NoAnswer:
        return None
    if daemon.get("settings") != str(path_at_start(config)):
        return None
    return RunningDaemon(path, daemon.get("event_queue"))


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


def answer(
    path: Path,
    method: str,
    page: str,
    body: Mapping[str, object] | None = None,
    *,
    seconds: float = LONGEST_SECONDS,
) -> tuple[int, dict[str, Any]]:
    """Return the status code and the body of the daemon's answer. Raises NoAnswer if no daemon answers.

    Another program may listen at the socket, and a fault of the daemon has an answer that is not JSON.
    """
    connection = ControlConnection(path, seconds)
    try:
        connection.request(method, page, None if body is None else json.dumps(body))
        reply = connection.getresponse()
        found = json.loads(reply.read())
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoDaemon(f"no daemon listens at {path}: start it with `poller run`") from None
    except (http.client.HTTPException, ConnectionError):
        raise NoAnswer("the daemon ended before it answered") from None
    except (TimeoutError, BlockingIOError):  # with a full queue of clients, a Unix socket does not wait
        raise NoAnswer(f"the daemon that listens at {path} does not answer: its process hangs") from None
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}") from None
    except ValueError:
        found = None
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise NoAnswer(f"{path}: the answer ({reply.status}) is not a JSON object; see the log of the daemon")
    return reply.status, found
