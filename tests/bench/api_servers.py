"""Which servers of Lambda's API are measured, and how does a client call them?

    poller           the daemon, whose SQS event queues are in `servers/canned.py`
    plain aiohttp    the same handler in the process of an HTTP server, without any child process
    ministack        the same handler on an emulator, in its warm worker

A client is a bare socket in this process, and sends no signature.
moto has no Invoke that runs a function without Docker.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio
from anyio.abc import SocketStream

from tests.bench.processes import CANNED, ENVIRONMENT, ROOT, Child, running, serving

PATH = "/2015-03-31/functions/{name}/invocations"

HANDLERS = """
import os
import time

def handle(event, context):
    return event

def sleep(event, context):
    time.sleep(600)

def note(event, context):
    began = time.monotonic()
    with open(os.environ["BEGAN"], "a") as file:
        file.write(f"{context.aws_request_id} {began}\\n")
"""
SETTINGS = """
[daemon]
region = "us-east-1"
endpoints = {{ sqs = "http://127.0.0.1:{sqs}" }}
api_listen = "127.0.0.1:{port}"
state = "memory:"
shutdown_grace_in_seconds = 1
event_queue = "sqlite://events.db"
[functions.echo]
handler = "handlers:handle"
[functions.busy]
handler = "handlers:sleep"
timeout_in_seconds = 900
reserved_concurrency = 1
[functions.busy_with_sqs]
handler = "handlers:sleep"
timeout_in_seconds = 900
reserved_concurrency = 1
event_invoke_config.event_queue_arn = "arn:aws:sqs:us-east-1:000000000000:busy"
[functions.note]
handler = "handlers:note"
environment = {{ BEGAN = "{began}" }}
[functions.note_with_sqs]
handler = "handlers:note"
environment = {{ BEGAN = "{began}" }}
event_invoke_config.event_queue_arn = "arn:aws:sqs:us-east-1:000000000000:note"
"""

BEGAN = "began.txt"
"""The file in which the function `note` writes the request id and the time of each invocation."""

Server = Callable[[Path, int], AbstractContextManager[Child]]
"""Runs a server with its files in a folder, at a port of the loopback interface."""


@contextmanager
def poller(folder: Path, port: int) -> Iterator[Child]:
    with serving(CANNED, folder=folder, name="canned") as sqs:
        (folder / "handlers.py").write_text(HANDLERS)
        (folder / "poller.toml").write_text(SETTINGS.format(port=port, sqs=sqs, began=folder / BEGAN))
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


class Client:
    """One kept connection, over which one request at a time is sent."""

    def __init__(self, stream: SocketStream, port: int, *, function: str, payload: bytes, is_event: bool) -> None:
        self._stream = stream
        self._status = b"HTTP/1.1 202" if is_event else b"HTTP/1.1 200"
        header = "X-Amz-Invocation-Type: Event\r\n" if is_event else ""
        self._request = request_of(PATH.format(name=function), payload, port, header)

    async def call(self) -> bytes:
        """Call the function, and return the answer."""
        await self._stream.send(self._request)
        answer = await answer_of(self._stream)
        assert answer.startswith(self._status), answer[:1000]
        return answer


def request_id_of(answer: bytes) -> str:
    found = re.search(rb"\r\nX-Amzn-RequestId: ([0-9a-f-]+)\r\n", answer)
    assert found, answer[:1000]
    return found[1].decode()


def request_of(path: str, body: bytes, port: int, header: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n{header}\r\n"
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
        await stream.send(request_of("/2015-03-31/functions", json.dumps(function).encode(), port))
        answer = await answer_of(stream)
        assert answer.startswith(b"HTTP/1.1 201"), answer[:1000]
