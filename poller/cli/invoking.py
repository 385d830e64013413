"""What does `poller invoke` do? It calls a function through the running daemon, as AWS's command line does on Lambda.

    settings file ── [daemon] state ──> control socket beside the state file ── Lambda's Invoke API ──> the daemon

The answer goes to stdout, and the log tail to stderr.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from poller.admin.control import control_path
from poller.cli.ending import Config, failures_told, refused
from poller.cli.reloading import ControlConnection
from poller.settings.loading import state_of

OF_INVOCATIONS = (
    "Exit codes: 0 all went well, 1 the function failed or no daemon runs, 2 faulty settings or a faulty command line."
)


def invoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The function: its name or ARN.")],
    config: Config = Path("poller.toml"),
    payload: Annotated[
        str, typer.Option(metavar="JSON|@FILE", help="The event as JSON, or @ and a file with it.")
    ] = "{}",
    event: Annotated[bool, typer.Option("--event", help="Store it as an asynchronous event, and do not wait.")] = False,
    tail: Annotated[bool, typer.Option("--tail", help="Show the end of the function's log, too.")] = False,
) -> None:
    """Call a function of the running daemon, and print its answer.

    Example: `poller invoke insert_records --payload @event.json --tail`

    With `--event` it prints the request id of the stored event.
    """
    body = _payload(payload)
    with failures_told(config):
        path = control_path(state_of(config, os.environ), config)
    headers = {"X-Amz-Invocation-Type": "Event" if event else "RequestResponse"}
    if tail and not event:
        headers["X-Amz-Log-Type"] = "Tail"
    connection = ControlConnection(path)
    try:
        connection.request("POST", f"/2015-03-31/functions/{quote(name, safe='')}/invocations", body, headers)
        reply = connection.getresponse()
        answer = reply.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise refused(f"no daemon listens at {path}: start it with `poller run`", code=1) from None
    except (http.client.HTTPException, OSError):
        raise refused("the daemon ended before it answered", code=1) from None
    finally:
        connection.close()
    if reply.status >= 300:
        raise refused(_message(answer), code=1)
    if log := reply.headers.get("X-Amz-Log-Result"):
        typer.echo(base64.b64decode(log), nl=False, err=True)
    typer.echo(reply.headers["X-Amzn-RequestId"] if event else answer)
    if "X-Amz-Function-Error" in reply.headers:
        raise typer.Exit(1)


def _payload(written: str) -> bytes:
    if not written.startswith("@"):
        return written.encode()
    try:
        return sys.stdin.buffer.read() if written == "@-" else Path(written[1:]).read_bytes()
    except OSError as error:
        raise refused(f"{written[1:]}: {error.strerror}", code=2) from None


def _message(answer: bytes) -> str:
    document = json.loads(answer)
    return str(document.get("message") or document.get("Message") or document.get("error"))
