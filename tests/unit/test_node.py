"""Do processes that run tests at the same time install a package only once?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import node


def test_a_package_that_another_process_has_just_installed_is_not_installed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process holds the lock, and has installed the package when it releases it."""
    monkeypatch.setattr(node, "CACHE", tmp_path / "cache")
    monkeypatch.setattr("fcntl.flock", lambda *_: (node.CACHE / "left-pad@1.0.0").mkdir())
    assert node.installed("left-pad", "1.0.0") == node.CACHE / "left-pad@1.0.0" / "node_modules" / "left-pad"
