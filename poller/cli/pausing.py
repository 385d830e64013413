"""What do `poller pause` and `poller resume` do? They ask the running daemon to pause a mapping, or to end a pause."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from poller.cli.as_json import AsJson, print_json
from poller.cli.daemon import asked, meant, socket_of
from poller.cli.ending import Config, refused

MappingName = Annotated[str, typer.Argument(metavar="MAPPING", help="A key of [mappings].")]


def pause(name: MappingName, config: Config = Path("poller.toml"), as_json: AsJson = False) -> None:
    """Pause a mapping of the running daemon until you resume it, also after a restart.

    Example: `poller pause new_users`

    The mapping finishes the batches in hand, keeps its position, and stops reading. Its messages stay in the queue,
    and its records stay in the stream for as long as the stream keeps them.
    If the state is "memory:", the pause ends with the daemon.
    """
    _change(name, "pause", config, as_json)


def resume(name: MappingName, config: Config = Path("poller.toml"), as_json: AsJson = False) -> None:
    """End the pause of a mapping. It continues at the position where it has stopped.

    Example: `poller resume new_users`
    """
    _change(name, "resume", config, as_json)


def _change(name: str, what: str, config: Path, as_json: bool) -> None:
    body = {"mapping": name, **meant(config)}
    status, answer = asked(socket_of(config), "POST", f"/api/{what}", body)
    if status != 200:
        raise refused(str(answer.get("error")), code=1)
    if as_json:
        print_json(answer)
    elif what == "pause":
        typer.echo(f"{name} was paused already" if answer["was_paused"] else f"{name} is paused")
        if not answer["survives_restart"]:
            typer.echo('the pause ends with the daemon, because its state is "memory:"')
    else:
        typer.echo(f"{name} is not paused any more" if answer["was_paused"] else f"{name} was not paused")
