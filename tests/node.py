"""How do tests get the Node programs that they run? npm installs them once, in a cache folder outside the project.

Processes that run tests side by side share the folder: the first one installs, the others wait. Where node or npm is
missing, or an install fails, the test is skipped and says why; in CI it fails instead.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path.home() / ".cache" / "poller-tests"

INSTALL_LIMIT_IN_SECONDS = 600


def node() -> str:
    """The node program."""
    return shutil.which("node") or unavailable("node is not installed")


def installed(name: str, version: str) -> Path:
    """The folder of a package, `node_modules` and all, installed if it was not. Its install scripts may run."""
    folder = CACHE / f"{name.replace('/', '+')}@{version}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                _install(name, version, folder)
    return folder / "node_modules" / name


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything is to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _install(name: str, version: str, folder: Path) -> None:
    npm = shutil.which("npm") or unavailable("npm is not installed")
    node()
    work = Path(tempfile.mkdtemp(dir=CACHE))
    manifest = {"private": True, "dependencies": {name: version}, "allowScripts": {name: True}}
    (work / "package.json").write_text(json.dumps(manifest))
    try:
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_IN_SECONDS,
        )
        if done.returncode != 0:
            unavailable(f"npm install {name}@{version} failed: {done.stderr[-1000:]}")
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
