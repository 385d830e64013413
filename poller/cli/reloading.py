"""What does `poller reload` do? It asks the running daemon to read its settings file again, and shows what changed.

    control socket (daemon.py) ── POST /api/reload ──> the daemon

The daemon reads the file, and answers with all its faults if it has any. The command itself reads only `state`, and
only if no daemon listens beside the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from poller.cli.as_json import AsJson, print_json
from poller.cli.daemon import asked, meant, socket_or_fault
from poller.cli.ending import Config, faults_shown, refused, warn
from poller.errors import SettingsError

OF_RELOADS = "Exit codes: 0 success, 1 no daemon runs or it could not change everything, 2 a faulty command line."


MOVED = "; or, if the daemon cannot write the folder of this file and daemon.state has changed, send it SIGHUP"


def reload(
    config: Config = Path("poller.toml"),
    function: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only restart the child processes of this function, with new code."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let the running daemon read its settings again.

    Example: `poller reload -c /etc/poller/poller.toml`

    After new code: `poller reload --function insert_records`

    Only mappings and functions that the file changes are drained and started again. If the file has a fault, nothing
    changes. The command returns when every change is in use, which may take as long as the grace.
    """
    if function == "":
        raise refused("--function needs the name of a function", code=2)
    body = meant(config) | ({} if function is None else {"function": function})
    try:
        status, answer = asked(socket_or_fault(config), "POST", "/api/reload", body, advice=MOVED)
    except SettingsError as error:
        status, answer = 422, {"faults": error.faults}
    if faults := answer.get("faults"):
        if as_json:
            print_json({"faults": faults})
        else:
            faults_shown(config, faults)
        raise typer.Exit(1)
    if status != 200:
        raise refused(str(answer.get("error")), code=1)
    warn(answer.get("warnings", ()))
    if as_json:
        print_json(answer)
    else:
        typer.echo("\n".join(_in_words(answer)))
    if failed := answer.get("failed"):
        for mapping, why in failed.items():
            typer.secho(f"mappings.{mapping} could not be changed: {why}", fg="red", err=True)
        raise typer.Exit(1)


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
