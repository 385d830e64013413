"""How does a test run the daemon? As a user does: with a TOML file, as a process, with its log, its pages and signals.

    world    a folder, AWS over HTTP and its keys; `world.daemon(text)` writes the file and runs `poller run -c FILE`
    daemon   the process; every line of its log has been parsed as JSON

A test waits through `watch` for entries of a queue's history or for lines of the log, and never for a fixed time. At
the end of the block the process has ended, also if the test fails.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import orjson
from prometheus_client.parser import text_string_to_metric_families

from poller.aws.signing import Credentials
from tests.fakes.aws_over_http import AwsOverHttp, aws_over_http
from tests.fakes.queue import FakeQueue
from tests.fakes.watch import History, Watch

ROOT = Path(__file__).parents[2]
KEYS = Credentials("AKIDFIRST", "first-secret-access-key", "first-session-token")
LINES_SHOWN = 40

DAEMON = """
[daemon]
region = "eu-west-1"
endpoint_url = "{url}"
state = "{state}"
http_listen = "{http}"
shutdown_grace_in_seconds = {grace}
{options}
"""


class Page(NamedTuple):
    """An HTTP answer of the daemon."""

    status: int
    text: str

    def json(self) -> Any:
        return orjson.loads(self.text)


class Daemon:
    """A running `poller run`. `log` has the parsed lines, `text` the unchanged text of stderr."""

    def __init__(self, process: asyncio.subprocess.Process, log: LogPipe, watch: Watch) -> None:
        self.pid = process.pid
        self.log: list[dict[str, Any]] = []
        self.text = ""
        self.close_log = log.transport.close
        self._process = process
        self._lines = log.lines
        self._log_has_ended = anyio.Event()
        self._watch = watch

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines of this event with these fields."""
        return [line for line in self.log if line["event"] == event and fields.items() <= line.items()]

    def records(self, event: str, **fields: object) -> int:
        """Return the sum of `records` over all lines of this event."""
        return sum(line["records"] for line in self.logged(event, **fields))

    async def until_logged(self, event: str, **fields: object) -> dict[str, Any]:
        await self._watch.until(lambda: self.logged(event, **fields))
        return self.logged(event, **fields)[0]

    async def get(self, path: str) -> Page:
        """Request a page of the daemon, at the address that its log names."""
        address = (await self.until_logged("daemon_started"))["http"]
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as reply:
            return Page(reply.status, await reply.text())

    async def counters(self, mapping: str) -> dict[str, int]:
        """The counters of records and messages of one mapping, by their names without noun and `_total`."""
        families = text_string_to_metric_families((await self.get("/metrics")).text)
        return {
            found[1]: int(sample.value)
            for family in families
            for sample in family.samples
            if sample.labels == {"mapping": mapping}
            and (found := re.fullmatch(r"poller_(?:records|messages)_(\w+)_total", sample.name))
        }

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self, within: float = 30.0) -> int:
        """Wait until the process and its log have ended, and return the exit status."""
        with anyio.fail_after(within):
            status = await self._process.wait()
            await self._log_has_ended.wait()
            return status

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def read(self) -> None:
        """Read the log to its end. Every line must be JSON."""
        no_json = []
        async for line in self._lines:
            self.text += line.decode()
            try:
                self.log.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                no_json.append(line)
            self._watch.ring()
        self._log_has_ended.set()
        assert not no_json, self.text


class LogPipe(NamedTuple):
    """`lines` is the reading end, and `writing` the other end's descriptor."""

    lines: asyncio.StreamReader
    transport: asyncio.ReadTransport
    writing: int


async def log_pipe() -> LogPipe:
    """Return a pipe of our own instead of asyncio's, because a test may close it."""
    reading, writing = os.pipe()
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb"))
    return LogPipe(lines, transport, writing)


class World:
    """The surroundings of a daemon. `environment` is its whole environment; `state` and `http_listen` are settings.

    `options` are more lines of the table [daemon].
    """

    def __init__(self, folder: Path, watch: Watch, aws: AwsOverHttp) -> None:
        self.folder = folder
        self.watch = watch
        self.aws = aws
        self.environment = environment(KEYS)
        self.state = "memory:"
        self.http_listen = "127.0.0.1:0"
        self.options = ""

    def queue(self, name: str, *, visibility_timeout_in_seconds: int = 30, **settings: Any) -> FakeQueue:
        return self.aws.create_queue(name, visibility_timeout_in_seconds=visibility_timeout_in_seconds, **settings)

    def send(self, queue: FakeQueue, *bodies: str, **options: Any) -> list[str]:
        return [self.aws.sqs.send(queue, body, **options) for body in bodies]

    async def until_deleted(self, queue: FakeQueue, count: int) -> None:
        """Wait until `count` messages of the queue are deleted.

        Only the time from one delete to the next is limited.
        """
        assert isinstance(queue.history, History)
        counts = queue.history.counts

        def is_another(before: int) -> bool:
            return counts["deleted"] > before

        while (deleted := counts["deleted"]) < count:
            await self.watch.until(partial(is_another, deleted))

    async def until_entry(self, queue: FakeQueue, kind: str, detail: str = "") -> None:
        await self.watch.until(lambda: any(entry.kind == kind and entry.detail == detail for entry in queue.history))

    def write(self, text: str, *, grace: float = 20) -> Path:
        """Write the settings file and return its path. `text` is everything but the table [daemon]."""
        file = self.folder / "poller.toml"
        daemon = DAEMON.format(
            url=self.aws.url, state=self.state, http=self.http_listen, grace=grace, options=self.options
        )
        file.write_text(daemon + text)
        return file

    @asynccontextmanager
    async def daemon(self, text: str, *options: str, grace: float = 20) -> AsyncIterator[Daemon]:
        """Run the daemon with the settings that `write` makes, as `running` does."""
        file = self.write(text, grace=grace)
        async with self.running("-c", str(file), *options) as daemon:
            yield daemon

    @asynccontextmanager
    async def running(
        self, *arguments: str, variables: Mapping[str, str] | None = None, program: Sequence[str] = ("-m", "poller")
    ) -> AsyncIterator[Daemon]:
        """Run `poller run` with these arguments, and with more variables in its environment.

        `program` is what Python runs as `poller`. At the end of the block a process that still runs is killed.
        """
        log = await log_pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program, "run", *arguments),
            env={**self.environment, **(variables or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log.writing,
        )
        os.close(log.writing)
        daemon = Daemon(process, log, self.watch)
        reading = asyncio.create_task(daemon.read())
        try:
            yield daemon
        except BaseException as error:
            error.add_note("the end of the daemon's log:\n" + "".join(daemon.text.splitlines(True)[-LINES_SHOWN:]))
            raise
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
                await reading
            log.transport.close()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    watch = Watch()
    async with aws_over_http(watch, KEYS) as aws:
        yield World(folder, watch, aws)


def environment(keys: Credentials | None, **more: str) -> dict[str, str]:
    """Return the machine's environment without AWS settings, proxies and virtual environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "POLLER_")) and not name.lower().endswith("_proxy")
    }
    of_keys = {} if keys is None else _variables(keys)
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nothing, "AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT), **of_keys, **more}


def _variables(keys: Credentials) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_SESSION_TOKEN": keys.session_token or "",
    }


def poller(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "poller", *arguments],
        env=environment(KEYS),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def descendants(pid: int) -> set[int]:
    """Return the descendants of this process."""
    table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, table.splitlines())}
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def ended_with(pids: Collection[int]) -> list[int]:
    """Return a file descriptor for each process, which becomes readable at the process's end.

    `until_gone` closes them.
    """
    return [os.pidfd_open(pid) for pid in pids]


async def until_gone(processes: Sequence[int]) -> None:
    """Wait for the end of these processes. A process that outlives its daemon is killed, and the test fails."""
    left = 0
    for process in processes:
        with anyio.move_on_after(30) as waiting:
            await anyio.wait_readable(process)
        if waiting.cancelled_caught:
            left += 1
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
    assert left == 0
