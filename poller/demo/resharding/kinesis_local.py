"""Which emulator can split and merge shards, and keeps closed shards readable? kinesis-local, a Node.js program.

    npm install    once, into $XDG_CACHE_HOME/poller (or ~/.cache/poller); a line on the screen says so
    node           runs it on a listening socket that the tour opens and hands down, as for the other emulator

It is slow, so the tour makes few calls to it.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path

from poller.demo.emulator import KEPT_VARIABLES, Emulator
from poller.demo.processes import DemoError, running, tail

PACKAGE = "kinesis-local"
VERSION = "0.6.2"

PLAIN_PORT = "4568"
"""The port of the emulator's listener for plain HTTP. loopback.cjs puts the tour's socket in place of this port."""

INSTANTLY = "1ms"
SHORTENED = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT")
"""Calls that take long on the emulator by default, as on AWS. The tour gives them the duration INSTANTLY."""

NPM_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")

NEEDED = "a stream is split and merged on an emulator that runs on Node.js, so `poller demo --reshard` needs"


@asynccontextmanager
async def kinesis_local(folder: Path, say: Callable[[str], None]) -> AsyncIterator[Emulator]:
    """Run the emulator on a free loopback port until the block ends.

    Raise DemoError if Node.js is missing or the emulator cannot be installed.
    """
    node = _program("node")
    package = await _installed(folder, say)
    log = folder / "kinesis.log"
    with (
        as_file(files(__package__).joinpath("loopback.cjs")) as preloaded,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        host, port = listener.getsockname()
        async with running(
            [node, "--require", str(preloaded), str(package / "main.js")],
            log=log,
            grace_in_seconds=0,
            environment=_environment(package, listener.fileno()),
            pass_fds=[listener.fileno()],
        ) as process:
            listener.close()
            yield Emulator(f"http://{host}:{port}", log, process)


def _environment(package: Path, listener_fd: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return (
        kept
        | {f"{name}_DURATION": INSTANTLY for name in SHORTENED}
        | {
            "KINESIS_MOCK_PLAIN_PORT": PLAIN_PORT,
            "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
            "LOG_LEVEL": "ERROR",
            "HANDED_DOWN_PORT": PLAIN_PORT,
            "HANDED_DOWN_FD": str(listener_fd),
        }
    )


async def _installed(folder: Path, say: Callable[[str], None]) -> Path:
    """Return the package's folder, and install the package if the folder does not exist."""
    home = cache() / f"{PACKAGE}@{VERSION}"
    if not home.exists():
        npm = _program("npm")
        say(f"npm installs {PACKAGE} {VERSION} into {home}, once")
        try:
            await _install(npm, home, folder / "npm.log")
        except OSError as error:
            raise DemoError(f"{PACKAGE} cannot be installed: {error}") from error
    return home / "node_modules" / PACKAGE


async def _install(npm: str, home: Path, log: Path) -> None:
    """Install into a temporary folder, and move it to `home` when it is complete."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as work:
        place = f"{work}/{home.name}"
        command = [npm, "install", "--prefix", place, *NPM_OPTIONS, f"{PACKAGE}@{VERSION}"]
        async with running(command, log=log, grace_in_seconds=1) as process:
            if await process.wait() != 0:
                raise DemoError(f"npm could not install {PACKAGE} {VERSION}:\n{tail(log)}")
        shutil.move(place, home.parent)


def cache() -> Path:
    """Return poller's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "poller"


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DemoError(f"{NEEDED} {name}, which is not on the PATH: install Node.js 18 or later, with npm")
    return found
