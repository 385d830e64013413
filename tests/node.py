"""How do tests get the Node programs that they run? npm installs them, as `installing.py` says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.installing import installed_once, ran, unavailable


def node() -> str:
    """The node program."""
    return shutil.which("node") or unavailable("node is not installed")


def installed(name: str, version: str) -> Path:
    """The folder of a package, `node_modules` and all, installed if it was not. Its install scripts may run."""

    def install(folder: Path) -> None:
        npm = shutil.which("npm") or unavailable("npm is not installed")
        node()
        manifest = {"private": True, "dependencies": {name: version}, "allowScripts": {name: True}}
        (folder / "package.json").write_text(json.dumps(manifest))
        ran([npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], folder)

    return installed_once(f"{name.replace('/', '+')}@{version}", install) / "node_modules" / name
