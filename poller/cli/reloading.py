"""What does `poller reload` do? It asks the running daemon to read its settings file again, and shows what changed.

    settings file ── [daemon] state ──> control socket beside the state file ── POST /api/reload ──> the daemon

The command itself reads only `state`. The daemon reads the whole file, and answers with all its faults if it has any.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.admin.changing import LONGEST_SECONDS
from poller.admin.control import control_path
from poller.cli.ending import Config, faults_shown, refused, warn
from poller.errors import SettingsError
from poller.settings.loading import state_of

OF_RELOADS = "Exit codes: 0 success, 1 no daemon runs or it could not change everything, 2 a faulty command line."


def reload(
    config: Config = Path("poller.toml"),
    function: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only restart the child processes of this function, with new code."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as JSON.")] = False,
) -> None:
    """Let the running daemon read its settings again.

    Example: `poller reload -c /etc/poller/poller.toml`

    Example: `poller reload --function insert_records` after its code has changed

    Only mappings and functions that the file changes are drained and started again. If the file has a fault, nothing
    changes. The command returns when every change is in use, which may take as long as the grace.
    """
    try:
        path = control_path(state_of(config, os.environ), config)
    except SettingsError as error:
        faults_shown(config, error.faults)
        raise typer.Exit(1) from None
    status, answer = _asked(path, {"settings": str(config.absolute())} | ({"function": function} if function else {}))
    if faults := answer.get("faults"):
        faults_shown(config, faults)
        raise typer.Exit(1)
    if status != 200:
        raise refused(str(answer.get("error")), code=1)
    warn(answer.get("warnings", ()))
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if as_json else "\n".join(_in_words(answer)))
    if failed := answer.get("failed"):
        for mapping, why in failed.items():
            typer.secho(f"mappings.{mapping} could not be changed: {why}", fg="red", err=True)
        raise typer.Exit(1)


class ControlConnection(http.client.HTTPConnection):
    """A connection to a Unix socket. Its timeout is long, because the daemon answers only when the change is made."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=LONGEST_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _asked(path: Path, body: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    connection = ControlConnection(path)
    try:
        connection.request("POST", "/api/reload", json.dumps(body))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    except (FileNotFoundError, ConnectionRefusedError):
        why = "start it with `poller run`; send SIGHUP to a daemon that was started with another daemon.state"
        raise refused(f"no daemon listens at {path}: {why}", code=1) from None
    except (http.client.HTTPException, ConnectionError):
        raise refused("the daemon ended before it answered", code=1) from None
    except OSError as error:
        raise refused(f"{path}: {error.strerror or error}", code=1) from None
    finally:
        connection.close()


def _in_words(answer: Mapping[str, Any]) -> Iterator[str]:
    if "restarted" in answer:
        yield f"the next invocations of {answer['restarted']} get new child processes"
        return
    lines = [
        (f"{kind} {change}", answer[kind][change])
        for kind in ("mappings", "functions")
        for change in ("added", "replaced", "removed")
    ]
    lines += [("events replaced", answer["events"]["replaced"])]
    lines += [("options changed", answer["options"]), ("needs a restart", answer["needs_restart"])]
    found = [f"{what}: {', '.join(names)}" for what, names in lines if names]
    yield from found or ["nothing has changed"]
