"""Which commands does a document show, and does the command line understand them?"""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import typer

from poller.cli import app


def commands_in(document: str) -> list[str]:
    """Return the commands of poller in the blocks of `sh`, and those that stand in backquotes."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL)).replace(" && ", "\n")
    lines = re.findall(r"^(poller .*?)(?: +#.*| [|>].*)?$", blocks, flags=re.MULTILINE)
    return sorted({*lines, *re.findall(r"`(poller [^`]+)`", document)})


def assert_understood(line: str) -> None:
    """Let the parser of the command read the line. It raises an error of click for one that is not understood."""
    _, *arguments = shlex.split(line)
    command: Any = _command()
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_parser(typer.Context(command)).parse_args(arguments)


@cache
def _command() -> Any:
    """Return the command of all commands. Typer takes some 10 ms to make it."""
    return typer.main.get_command(app)
