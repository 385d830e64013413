from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from poller.cli import app

Poller = Callable[..., Result]

JSON_DOCUMENT = (Path(__file__).parents[3] / "deploy" / "json.md").read_text()

command_of = cache(get_command)
"""typer makes all commands anew for each run, which takes longer than most tests."""


def leaf_commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command that is no group, with its full name."""
    for each, inner in getattr(command, "commands", {}).items():
        yield from leaf_commands(inner, f"{name} {each}".strip())
    if not hasattr(command, "commands"):
        yield name, command


COMMANDS = dict(leaf_commands(get_command(app)))
"""Each command that is no group, by its full name, such as `state show`."""

Spoil = Callable[[Path], object]


def _missing(file: Path) -> None:
    file.unlink(missing_ok=True)


def _directory(file: Path) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


UNREADABLE = pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("[daemon"),
        lambda file: file.write_text("daemon = 1"),
        lambda file: file.write_text('[daemon]\nstate = "dynamodb://t"\nregion = ""'),
        lambda file: file.write_bytes(b"\xff"),
        _missing,
        _directory,
    ],
    ids=["not TOML", "no table", "a fault of the state", "not UTF-8", "missing", "a directory"],
)
"""Each way to spoil a settings file, so that it does not say where the state is."""


@pytest.fixture
def poller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poller:
    """Return a function that runs a command in an empty folder; its keywords are the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    monkeypatch.setattr("typer.testing._get_command", command_of)
    monkeypatch.setattr("poller.cli.change_log.SYSTEM_LOG", tmp_path / "system_log")  # not the log of this host
    return lambda *arguments, **environ: CliRunner().invoke(app, arguments, env=environ)


def logged(result: Result) -> dict[str, Any]:
    """Return the change that the command has logged. It must have succeeded, with nothing else on stderr."""
    assert result.exit_code == 0, result.output
    [line] = map(json.loads, result.stderr.splitlines())
    assert isinstance(line, dict)
    assert line.pop("event") == "change_made"
    return {name: value for name, value in line.items() if name not in ("timestamp", "level", "by")}


def members(command: str) -> set[str]:
    """Return the members of the document that the command prints with --json, according to deploy/json.md."""
    rows = [line.split(" | ") for line in JSON_DOCUMENT.splitlines() if line.startswith("| `")]
    (found,) = (listed for commands, listed, _ in rows if f"`{command}`" in commands)
    return set(re.findall(r"`(\w+)`", found))
