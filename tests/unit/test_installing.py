"""Do processes that run tests at the same time install a program only once?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import installing


def test_an_emulator_that_another_process_has_just_installed_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process holds the lock, and has installed the package when it releases it."""
    monkeypatch.setattr(installing, "CACHE", tmp_path / "cache")
    monkeypatch.setattr("fcntl.flock", lambda *_: (installing.CACHE / "left-pad@1.0.0").mkdir())
    folder = installing.installed_once("left-pad@1.0.0", lambda _: pytest.fail("it was installed again"))
    assert folder == installing.CACHE / "left-pad@1.0.0"
