"""Which emulator of Kinesis can really reshard? kinesis-local, a Node program, whose closed shards can still be read.

It would listen on every interface, on ports that it is told; `loopback.cjs` gives it the socket that was opened here
instead, so that there is no race for a port and nothing to wait for. An access key id of 12 digits is an account of its
own. Small volumes only: it is slow.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.node import installed, node

VERSION = "0.6.2"

PRELOADED = Path(__file__).with_name("loopback.cjs")

PLAIN_PORT = "4568"
"""Only a name here, for the listener of plain HTTP."""

DURATIONS = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT")


@contextmanager
def kinesis_local(listener_fd: int, folder: Path) -> Iterator[None]:
    """Run it on the listening socket; its output stays in `folder`."""
    package = installed("kinesis-local", VERSION)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {f"{name}_DURATION": "1ms" for name in DURATIONS}
    environment |= {
        "KINESIS_MOCK_PLAIN_PORT": PLAIN_PORT,
        "HANDED_DOWN_PORT": PLAIN_PORT,
        "HANDED_DOWN_FD": str(listener_fd),
        "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
        "LOG_LEVEL": "ERROR",
        "SHARD_LIMIT": "10000",
    }
    with (
        (folder / "output.log").open("wb") as log,
        subprocess.Popen(
            [node(), "--require", str(PRELOADED), str(package / "main.js")],
            pass_fds=[listener_fd],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield
        finally:
            process.kill()
