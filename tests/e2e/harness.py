"""How does a test run the daemon? As a user does: a TOML file, a process, its log, its HTTP pages, signals.

    world    a folder, AWS over HTTP and its keys; `world.daemon(text)` writes the file and runs `poller run -c FILE`
    daemon   the process; every line of its log has been parsed as JSON

A test waits for entries of a queue's history or lines of the log through the one `watch`, never for time to pass.
Whatever becomes of the test, the process has ended, by its own id, when the block is left.
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
http_listen = "127.0.0.1:0"
shutdown_grace_in_seconds = {grace}
"""


class Page(NamedTuple):
    """What the daemon answered over HTTP."""

    status: int
    text: str

    def json(self) -> Any:
        return orjson.loads(self.text)


class Daemon:
    """A running `poller run`. `log` holds the parsed lines, `text` all of stderr as it came."""

    def __init__(self, process: asyncio.subprocess.Process, log: LogPipe, watch: Watch) -> None:
        self.pid = process.pid
        self.log: list[dict[str, Any]] = []
        self.text = ""
        self.close_log = log.transport.close
        self._process = process
        self._lines = log.lines
        self._watch = watch

    def said(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The log's lines of this event with these fields."""
        return [line for line in self.log if line["event"] == event and fields.items() <= line.items()]

    def records(self, event: str, **fields: object) -> int:
        """How many records the lines of this event are about, in all."""
        return sum(line["records"] for line in self.said(event, **fields))

    async def until_said(self, event: str, **fields: object) -> dict[str, Any]:
        await self._watch.until(lambda: self.said(event, **fields))
        return self.said(event, **fields)[0]

    async def get(self, path: str) -> Page:
        """A page of the daemon, at the address that its log names."""
        address = (await self.until_said("daemon_started"))["http"]
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
        """The exit status, once the process and its log have ended."""
        with anyio.fail_after(within):
            return await self._process.wait()

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def read(self) -> None:
        """Take in the log until its end; then every line must have been JSON."""
        no_json = []
        async for line in self._lines:
            self.text += line.decode()
            try:
                self.log.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                no_json.append(line)
            self._watch.ring()
        assert not no_json, self.text


class LogPipe(NamedTuple):
    """`lines` is the reading end, and `writing` the other end's descriptor."""

    lines: asyncio.StreamReader
    transport: asyncio.ReadTransport
    writing: int


async def log_pipe() -> LogPipe:
    """A pipe of our own rather than asyncio's, so that a test may close it."""
    reading, writing = os.pipe()
    lines = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb"))
    return LogPipe(lines, transport, writing)


class World:
    """What surrounds a daemon. `environment` is all that it gets to see of the machine's; `state` is the setting."""

    def __init__(self, folder: Path, watch: Watch, aws: AwsOverHttp) -> None:
        self.folder = folder
        self.watch = watch
        self.aws = aws
        self.environment = environment(KEYS)
        self.state = "memory:"

    def queue(self, name: str, *, visibility_timeout_in_seconds: int = 30, **settings: Any) -> FakeQueue:
        return self.aws.create_queue(name, visibility_timeout_in_seconds=visibility_timeout_in_seconds, **settings)

    def send(self, queue: FakeQueue, *bodies: str, **options: Any) -> list[str]:
        return [self.aws.sqs.send(queue, body, **options) for body in bodies]

    async def until_deleted(self, queue: FakeQueue, count: int) -> None:
        """So many messages of the queue are gone for good. Only the time from one delete to the next is limited."""
        assert isinstance(queue.history, History)
        counts = queue.history.counts

        def is_another(before: int) -> bool:
            return counts["deleted"] > before

        while (deleted := counts["deleted"]) < count:
            await self.watch.until(partial(is_another, deleted))

    async def until_entry(self, queue: FakeQueue, kind: str, detail: str = "") -> None:
        await self.watch.until(lambda: any(entry.kind == kind and entry.detail == detail for entry in queue.history))

    def write(self, text: str, *, grace: float = 20) -> Path:
        """The settings file; `text` is all of it but the [daemon] table."""
        file = self.folder / "poller.toml"
        file.write_text(DAEMON.format(url=self.aws.url, state=self.state, grace=grace) + text)
        return file

    @asynccontextmanager
    async def daemon(self, text: str, *options: str, grace: float = 20) -> AsyncIterator[Daemon]:
        """Runs with the settings that `write` makes. The process is killed on leaving, if it is there still."""
        file = self.write(text, grace=grace)
        log = await log_pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "poller", "run", "-c", str(file), *options),
            env=self.environment,
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
    """The machine's, without its AWS settings, its proxies and its virtual account."""
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
    """A command that ends by itself."""
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
    """The processes that this one has started, and theirs."""
    table = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, table.splitlines())}
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def ended_with(pids: Collection[int]) -> list[int]:
    """A descriptor for each process, which becomes readable at its end; `until_gone` closes them."""
    return [os.pidfd_open(pid) for pid in pids]


async def until_gone(processes: Sequence[int]) -> None:
    """Whatever is left has outlived its daemon: it is ended all the same, and the test fails."""
    left = 0
    for process in processes:
        with anyio.move_on_after(30) as waiting:
            await anyio.wait_readable(process)
        if waiting.cancelled_caught:
            left += 1
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
    assert left == 0
