"""On which machine and with which versions was this measured? One text for the line below a table."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("uvloop", "httptools", "orjson", "anyio", "aiobotocore", "botocore", "aiohttp")
"""The packages that have the most influence on the speed of the daemon and of the plain loop."""


def described(*rivals: str) -> str:
    """Return two sentences.

    `rivals` are the contenders that are no packages of this environment, with their versions.
    """
    packages = [f"{name} {version(name)}" for name in PACKAGES]
    cores = len(os.sched_getaffinity(0))
    where = f"{cores} core{'s' if cores > 1 else ''} of {_processor()}, Linux {platform.release()}"
    versions = ", ".join([f"CPython {platform.python_version()}", *packages, *rivals])
    return f"Measured on {where}.\nVersions: {versions}."


def node_versions(node_modules: Path, names: Iterable[str]) -> list[str]:
    """Return the versions of Node and of the packages, or nothing if Node is not installed."""
    node = shutil.which("node")
    manifests = [node_modules / name / "package.json" for name in names]
    if node is None or not all(manifest.exists() for manifest in manifests):
        return []
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    packages = [json.loads(manifest.read_text()) for manifest in manifests]
    return [
        f"Node.js {answer.stdout.strip().removeprefix('v')}",
        *(f"{each['name']} {each['version']}" for each in packages),
    ]


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()
