"""What does a call through the Invoke API cost? Run by hand: `python tests/bench/calls.py [FOLDER]`.

    poller, one client      each call waits for the answer of a warm child process
    poller, 16 clients      the same, as many calls as the machine can do
    poller, events          64 clients store events; the function is busy, so that only the storing is measured
    plain aiohttp           the same handler in the process of an HTTP server, without any child process
    ministack               the same handler on an emulator, in its warm worker

The clients are bare sockets in this process, and send no signature. CPU is that of the server and its children.
moto has no Invoke that runs a function without Docker. FOLDER, for the events, is on a disk.
"""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.abc import SocketStream

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.machine import described
from tests.bench.processes import ENVIRONMENT, ROOT, Child, running

SECONDS = 3.0
ROUNDS = 3
PATH = "/2015-03-31/functions/{name}/invocations"
PAYLOAD = b'{"order": 7, "note": "' + b"x" * 178 + b'"}'

HANDLERS = """
import time

def handle(event, context):
    return event

def sleep(event, context):
    time.sleep(600)
"""
SETTINGS = """
[daemon]
region = "us-east-1"
api_listen = "127.0.0.1:{port}"
state = "memory:"
shutdown_grace_in_seconds = 1
event_queue = "sqlite://events.db"
[functions.echo]
handler = "handlers:handle"
[functions.sleep]
handler = "handlers:sleep"
timeout_in_seconds = 900
reserved_concurrency = 1
"""

Server = Callable[[Path, int], AbstractContextManager[Child]]


class Measured(NamedTuple):
    """Figures of one round. `p50` and `p99` are the seconds that a client waited."""

    calls_per_second: float
    cpu_per_call: float
    p50: float
    p99: float


class Case(NamedTuple):
    title: str
    server: Server
    clients: int
    function: str = "echo"
    header: str = ""
    status: int = 200


@contextmanager
def poller(folder: Path, port: int) -> Iterator[Child]:
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "poller.toml").write_text(SETTINGS.format(port=port))
    command = [sys.executable, "-m", "poller", "run", "-c", str(folder / "poller.toml")]
    with running(command, folder=folder, name="poller") as child:
        yield child


@contextmanager
def plain_aiohttp(folder: Path, port: int) -> Iterator[Child]:
    command = [sys.executable, str(ROOT / "tests" / "bench" / "rivals" / "plain_http.py"), str(port)]
    with running(command, folder=folder, name="plain") as child:
        yield child


@contextmanager
def ministack(folder: Path, port: int) -> Iterator[Child]:
    variables = {
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "STATE_DIR": str(folder / "emulator"),
        "S3_DATA_DIR": str(folder / "emulator"),
        "TMPDIR": str(folder),
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
    }
    command = [sys.executable, "-m", "hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}"]
    with running(command, folder=folder, name="ministack", environment={**ENVIRONMENT, **variables}) as child:
        yield child


CASES = (
    Case("poller, one client", poller, 1),
    Case("poller, 16 clients", poller, 16),
    Case("poller, events", poller, 64, "sleep", "X-Amz-Invocation-Type: Event\r\n", 202),
    Case("plain aiohttp, one client", plain_aiohttp, 1),
    Case("plain aiohttp, 16 clients", plain_aiohttp, 16),
    Case("ministack, one client", ministack, 1),
    Case("ministack, 16 clients", ministack, 16),
)


class Client:
    """One kept connection, over which one request at a time is sent."""

    def __init__(self, stream: SocketStream, case: Case, port: int) -> None:
        self._stream = stream
        self._status = b"HTTP/1.1 %d" % case.status
        self._request = request_of("POST", PATH.format(name=case.function), PAYLOAD, port, case.header)

    async def call(self) -> None:
        await self._stream.send(self._request)
        answer = await answer_of(self._stream)
        assert answer.startswith(self._status), answer[:1000]


def request_of(method: str, path: str, body: bytes, port: int, header: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n{header}\r\n"
    return head.encode() + body


async def answer_of(stream: SocketStream) -> bytes:
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        answer += await stream.receive()
    head = answer[:end].lower()
    _, _, length = head.partition(b"content-length:")
    missing = end + 4 + int(length.split(b"\r\n")[0] or 0) - len(answer)
    while missing > 0:
        part = await stream.receive()
        answer, missing = answer + part, missing - len(part)
    return answer


async def connected(port: int, child: Child) -> SocketStream:
    """Connect to the server as soon as it listens."""
    with anyio.fail_after(60):
        while True:
            child.check()
            try:
                return await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.05)


async def create_function(port: int, child: Child) -> None:
    """Create the function on an emulator, and wait until it is called once."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("handlers.py", HANDLERS)
    function = {
        "FunctionName": "echo",
        "Runtime": "python3.11",
        "Handler": "handlers.handle",
        "Role": "arn:aws:iam::000000000000:role/bench",
        "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
    }
    async with await connected(port, child) as stream:
        await stream.send(request_of("POST", "/2015-03-31/functions", json.dumps(function).encode(), port))
        answer = await answer_of(stream)
        assert answer.startswith(b"HTTP/1.1 201"), answer[:1000]


async def measured(case: Case, folder: Path) -> Measured:
    """Let the clients call for some seconds."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waits: list[float] = []
    with case.server(folder, port) as child:
        if case.server is ministack:
            await create_function(port, child)
        clients = [Client(await connected(port, child), case, port) for _ in range(case.clients)]
        for client in clients:
            await client.call()
        for _ in range(20):
            await call_together(clients)
        cpu, began = child.cpu_seconds(), time.perf_counter()

        async def call_on(client: Client) -> None:
            while (start := time.perf_counter()) < began + SECONDS:
                await client.call()
                waits.append(time.perf_counter() - start)

        async with anyio.create_task_group() as tasks:
            for client in clients:
                tasks.start_soon(call_on, client)
        took, cpu = time.perf_counter() - began, child.cpu_seconds() - cpu
    cuts = statistics.quantiles(waits, n=100)
    return Measured(len(waits) / took, cpu / len(waits), cuts[49], cuts[98])


async def call_together(clients: list[Client]) -> None:
    """Call once with each client, so that the server has as many warm workers as clients."""
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(client.call)


async def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    rounds: dict[str, list[Measured]] = {case.title: [] for case in CASES}
    for _ in range(ROUNDS):
        for case in CASES:
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                rounds[case.title].append(await measured(case, Path(temporary)))
    for title, figures in rounds.items():
        print(line(title, figures))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{described('ministack ' + version('ministack'))}\nThe machine's load: {load}.")


def line(name: str, rounds: list[Measured]) -> str:
    """The median round, and the least and the most of all rounds."""
    rates = sorted(each.calls_per_second for each in rounds)
    costs = sorted(each.cpu_per_call * 1e6 for each in rounds)
    middle = sorted(rounds)[len(rounds) // 2]
    return (
        f"{name:26} {middle.calls_per_second:8,.0f} calls/s ({rates[0]:,.0f}–{rates[-1]:,.0f})"
        f" {middle.cpu_per_call * 1e6:6.0f} CPU µs ({costs[0]:.0f}–{costs[-1]:.0f})"
        f"   p50 {middle.p50 * 1e3:6.2f} ms   p99 {middle.p99 * 1e3:6.2f} ms"
    )


if __name__ == "__main__":
    anyio.run(main, backend_options={"use_uvloop": True})
