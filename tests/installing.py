"""How do tests get programs of other projects? They are installed once, in a cache folder outside the project.

Processes that run tests side by side share the folder: the first one installs, the others wait. Where an install is
not possible or fails, the test is skipped and says why; in CI it fails instead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path.home() / ".cache" / "poller-tests"

INSTALL_LIMIT_IN_SECONDS = 600


def installed_once(name: str, install: Callable[[Path], None]) -> Path:
    """Return the folder of this name. If it does not exist, `install` fills a folder, which then gets the name."""
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _fill(folder, install)
    return folder


def ran(command: Sequence[str | Path], folder: Path) -> None:
    """Run a program that installs something."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_IN_SECONDS)
    if done.returncode != 0:
        unavailable(f"{' '.join(map(str, command))} failed: {done.stderr[-1000:]}")


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything is to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _fill(folder: Path, install: Callable[[Path], None]) -> None:
    work = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        install(work)
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
