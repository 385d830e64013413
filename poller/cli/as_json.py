"""How does a command answer a program? With `--json`, stdout has one JSON document, and nothing else.

A failure or a warning still goes to stderr, and the exit code is that of the same command without `--json`.
deploy/json.md shows the document of each command. `poller tail --json` prints one for each record.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import orjson
import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

AlwaysJson = Annotated[bool, typer.Option("--json", help="Print JSON, as without this option.")]
"""The option of a command that has only this form of output, so that a script may use --json with every command."""


def print_json(document: object) -> None:
    """Print the document. A value that JSON cannot express, such as a time of TOML, becomes a text."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    typer.echo(text.encode(errors="backslashreplace"))  # half a surrogate pair stays an escape, as in JSON


def parsed(text: bytes) -> Any:
    """Return the value of the JSON text, or the text itself if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.decode(errors="replace")
