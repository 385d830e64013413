from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from poller.cli import app

Poller = Callable[..., Result]

command_of = cache(get_command)
"""typer makes all commands anew for each run, which takes longer than most tests."""


@pytest.fixture
def poller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poller:
    """Return a function that runs a command in an empty folder; its keywords are the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    monkeypatch.setattr("typer.testing._get_command", command_of)
    return lambda *arguments, **environ: CliRunner().invoke(app, arguments, env=environ)
