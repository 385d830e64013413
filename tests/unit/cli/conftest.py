from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from poller.cli import app

Poller = Callable[..., Result]


@pytest.fixture
def poller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poller:
    """Return a function that runs a command in an empty folder; its keywords are the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLLER_CONFIG", raising=False)
    return lambda *arguments, **environ: CliRunner().invoke(app, arguments, env=environ)
