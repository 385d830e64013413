"""Does the loop of workers.md replace the daemons of one file, without a loss and without a wait for expired leases?

The daemons run as poller-worker@.service says. A stand-in for systemctl restarts them: it asks the test to do it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from random import SystemRandom

import anyio
import pytest
from anyio.abc import SocketStream

from tests.e2e.harness import ROOT, Daemon, World
from tests.e2e.test_worker_streams import LONGEST_GAP_IN_SECONDS, Scene

pytestmark = pytest.mark.anyio

DEPLOY = ROOT / "deploy"
NUMBERS = ("1", "2", "3")

SYSTEMCTL = """#!{python}
import socket, sys
with socket.socket(socket.AF_UNIX) as test:
    test.connect({path!r})
    test.sendall(" ".join(sys.argv[1:]).encode())
    test.shutdown(socket.SHUT_WR)
    sys.exit(test.recv(10) != b"done")
"""


class Host:
    """A host with systemd, as far as the loop can see. `asked` has the arguments of each call of systemctl."""

    def __init__(self, world: World, file: Path, folder: str) -> None:
        """`folder` stands for /run. Its path is short, because the path of a socket has at most 103 bytes."""
        self.asked: list[str] = []
        self.daemons: dict[str, Daemon] = {}
        self.exit_codes: list[int] = []
        self._world = world
        self._names = {"/etc/poller/poller.toml": str(file), "%t": folder, "%l": "blue"}
        self._processes = AsyncExitStack()
        self._unit = (DEPLOY / "poller-worker@.service").read_text()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the daemons. At the end of the block, stop them."""
        async with self._processes:
            for number in NUMBERS:
                await self.start(number)
            for daemon in self.daemons.values():
                await daemon.until_logged("mapping_ready")
            yield
            for daemon in self.daemons.values():
                self.exit_codes.append(await daemon.stop())

    async def start(self, number: str) -> None:
        """Do what the unit says: make the folder and the link, and start the daemon with its variables."""
        [folder] = self.setting("RuntimeDirectory", number)
        await anyio.Path(self._names["%t"], folder).mkdir(exist_ok=True)
        await anyio.run_process(self.setting("ExecStartPre", number))
        variables = dict(each.split("=") for each in self.setting("Environment", number))
        _, _, *arguments = self.setting("ExecStart", number)
        daemon = self._world.running(*arguments, variables=variables)
        self.daemons[number] = await self._processes.enter_async_context(daemon)

    def setting(self, name: str, number: str) -> list[str]:
        """Return the words of a setting of the unit, for the daemon with this number on this host."""
        [value] = re.findall(f"^{name}=(.+)$", self._unit, flags=re.MULTILINE)
        for there, here in {**self._names, "%i": number}.items():
            value = value.replace(there, here)
        return shlex.split(value)

    async def obey(self, systemctl: SocketStream) -> None:
        """Restart the daemon that systemctl names. Before that, check that all daemons are ready."""
        async with systemctl:
            self.asked.append((await systemctl.receive()).decode())
            asked_at = time.time()
            for daemon in self.daemons.values():
                ready = await daemon.until_logged("mapping_ready")
                assert datetime.fromisoformat(ready["timestamp"]).timestamp() < asked_at
            number = self.asked[-1].rpartition("@")[2]
            self.exit_codes.append(await self.daemons[number].stop())
            await self.start(number)
            await systemctl.send(b"done")


def free_ports() -> int:
    """Return a number that, with each of NUMBERS behind it, is a port at which nobody listens."""
    while True:
        found = SystemRandom().randrange(1_100, 3_200)
        try:
            for number in NUMBERS:
                socket.create_server(("127.0.0.1", int(f"{found}{number}"))).close()
        except OSError:
            continue
        return found


def systemctl_of(folder: Path, socket_path: str) -> dict[str, str]:
    """Make a program `systemctl` that asks the test. Return the environment in which the loop finds it."""
    program = folder / "systemctl"
    program.write_text(SYSTEMCTL.format(python=sys.executable, path=socket_path))
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_loop_replaces_each_daemon_once_the_one_before_is_ready_and_shards_wait_only_briefly(
    world: World,
) -> None:
    scene, ports = Scene(world), free_ports()
    world.http_listen = f"127.0.0.1:{ports}${{POLLER_NUMBER:-1}}"
    world.options = 'worker = "${POLLER_WORKER:-worker}"'
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DEPLOY / "workers.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    [loop] = [block.replace("127.0.0.1:947", f"127.0.0.1:{ports}") for block in blocks if "systemctl" in block]
    with tempfile.TemporaryDirectory() as folder:
        host = Host(world, world.write(scene.settings()), folder)
        async with (
            await anyio.create_unix_listener(f"{folder}/systemd") as systemd,
            host.running(),
            scene.writing(),
        ):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(systemd.serve, host.obey)
                await anyio.run_process(["sh", "-c", loop], env=systemctl_of(world.folder, f"{folder}/systemd"))
                tasks.cancel_scope.cancel()
            await scene.until_all_go_on()
            for number in NUMBERS:
                reload = [sys.executable, "-m", "poller", *host.setting("ExecReload", number)[1:]]
                await anyio.run_process(reload, env=world.environment)
                await host.daemons[number].until_logged("reloaded")
    scene.function.check()
    assert host.asked == [f"restart poller-worker@{number}" for number in NUMBERS]
    assert host.exit_codes == [0] * 6
    assert [len(daemon.logged("reloaded")) for daemon in host.daemons.values()] == [1, 1, 1]
    assert max(scene.function.gaps) < LONGEST_GAP_IN_SECONDS
