"""How does a test disturb several workers that share a stream, and how does it check what the function saw?

    kinesis-local   the stream `clicks`, into which records are put all the time
    ministack       the table of leases
    three workers   `poller run`, each in a folder of its own, as on three hosts, with the same mapping

At random moments a worker is killed (`kill -9`), paused for longer than a lease lasts (SIGSTOP), or stopped (SIGTERM);
a worker that has ended begins again at once. A pause stops the daemon alone, or its child processes, too, as if the
host was paused. Some workers run under libfaketime, so that their clocks show another day. Shards are split. At the end
`worker_history.py` checks the function's notes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any, Literal

import anyio
import orjson

from poller.aws.clients import Aws, AwsSettings
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from tests.e2e.hand_over_times import HandOver, Wire, hand_overs, other_ages
from tests.e2e.harness import LINES_SHOWN, Daemon, descendants, environment, log_pipe
from tests.e2e.worker_history import Note, Summary, check, gaps
from tests.fakes.watch import Watch

REGION = "us-east-1"
WORKERS = 3
SHARDS = 4
MOST_SHARDS = 8
SPLITTING_RATE = 0.02
RECORDS_AT_ONCE = 10
PAUSE_BETWEEN_PUTS_IN_SECONDS = 0.2
SHORTEST_PAUSE_IN_SECONDS = LEASE_DURATION_IN_SECONDS + 2
LONGEST_CATCHING_UP_IN_SECONDS = 60.0
"""The longest time, after the last disturbance, between two records that are done."""

CLOCKS = ("", "+3d", "-2h")
"""The offset of each worker's time of day."""

LIBFAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")

LATELY = 20
"""A worker has invoked the function lately if one of this number of newest notes is its own."""

Disturbance = Literal["kill", "pause", "stop"]

SETTINGS = """
[daemon]
region = "{region}"
endpoint_url = "{ministack}"
endpoints = {{ kinesis = "{kinesis}" }}
state = "dynamodb://leases"
worker = "{worker}"
shutdown_grace_in_seconds = 10

[functions.consume]
handler = "tests.e2e.worker_functions:consume"
environment = {{ LEDGER = "{ledger}", WORKER = "${{RUN}}", LD_PRELOAD = "" }}

[mappings.clicks]
event_source_arn = "arn:aws:kinesis:{region}:{account}:stream/clicks"
function_name = "consume"
starting_position = "TRIM_HORIZON"
batch_size = 50
"""


class Stream:
    """The stream `clicks`. `records` has the sequence numbers of each shard, in order. `client` is aiobotocore's."""

    def __init__(self, client: Any) -> None:
        self.records: defaultdict[str, list[str]] = defaultdict(list)
        self.put_at: dict[str, float] = {}
        self.parents: dict[str, list[str]] = {}
        self._client = client

    async def create(self) -> None:
        await self._client.create_stream(StreamName="clicks", ShardCount=SHARDS)
        while (await self._described())["StreamStatus"] != "ACTIVE":  # noqa: ASYNC110
            await anyio.sleep(0.05)

    async def put(self, keys: list[str]) -> None:
        records = [{"Data": b"{}", "PartitionKey": key} for key in keys]
        began = time.monotonic()
        for record in (await self._client.put_records(StreamName="clicks", Records=records))["Records"]:
            self.records[record["ShardId"]].append(record["SequenceNumber"])
            self.put_at[record["SequenceNumber"]] = began

    async def split(self, randomness: random.Random) -> None:
        """Split a shard that is open, unless there are many."""
        shards = (await self._described())["Shards"]
        open_shards = [each for each in shards if "EndingSequenceNumber" not in each["SequenceNumberRange"]]
        if len(shards) >= MOST_SHARDS:
            return
        shard = randomness.choice(open_shards)
        low, high = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        middle = str((low + high) // 2)
        await self._client.split_shard(StreamName="clicks", ShardToSplit=shard["ShardId"], NewStartingHashKey=middle)

    async def note_parents(self) -> None:
        for shard in (await self._described())["Shards"]:
            found = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
            self.parents[shard["ShardId"]] = [parent for parent in found if parent]
        for numbers in self.records.values():
            numbers.sort(key=int)

    async def _described(self) -> Any:
        return (await self._client.describe_stream(StreamName="clicks"))["StreamDescription"]


class Ledger:
    """The notes of the function, read as they are written."""

    def __init__(self, path: Path) -> None:
        self.notes: list[Note] = []
        self._path = path
        self._read = 0
        path.touch()

    def read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        self.notes += [Note(*orjson.loads(line)) for line in whole.splitlines()]

    @property
    def done(self) -> set[str]:
        return {number for note in self.notes if note.what == "ended" for number in note.numbers}


class WorkerKilling:
    """Runs and disturbs the workers. `counts` counts the disturbances of each kind.

    Between two disturbances are at most `longest_quiet_in_seconds`. A pause lasts `longest_pause_in_seconds` at most.
    `most_at_once` workers are disturbed at the same time, so that at least one always works on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kinesis: str,
        ministack: str,
        account: str,
        randomness: random.Random,
        longest_quiet_in_seconds: float,
        longest_pause_in_seconds: float,
        most_at_once: int = WORKERS - 1,
        wire: Wire | None = None,
    ) -> None:
        self.hand_overs: list[HandOver] = []
        """The hand-overs of workers that were stopped, if `wire` is given."""
        self.other_ages: list[float] = []
        self.answers: dict[str, list[float]] = {}
        """How long the services took for each answer, by operation."""
        self.counts: Counter[Disturbance] = Counter()
        self.gaps: list[float] = []
        """The time that each change of a shard's owner took, in seconds."""
        self._folder = folder
        self._randomness = randomness
        self._longest_quiet_in_seconds = longest_quiet_in_seconds
        self._longest_pause_in_seconds = longest_pause_in_seconds
        self._watch = Watch()
        self._ledger = Ledger(folder / "ledger.jsonl")
        self._pauses: Counter[str] = Counter()
        self._runs = 0
        self._endpoints = {"kinesis": kinesis, "ministack": ministack, "account": account}
        self._workers: dict[int, Worker] = {}
        self._disturbed: set[int] = set()
        self._room = anyio.Semaphore(most_at_once)
        self._wire = wire
        self._stopped: dict[str, float] = {}

    async def run(self, disturbances: list[Disturbance], *, done: Callable[[], object] = lambda: None) -> Summary:
        """Make all disturbances. `done` is called for each. Raise AssertionError if a rule was broken."""
        settings = AwsSettings(region=REGION, endpoint_url=self._endpoints["kinesis"])
        async with Aws(settings) as aws, aws.client("kinesis") as client:
            stream = Stream(client)
            await stream.create()
            await self._play(stream, disturbances, done)
            await stream.note_parents()
        self._ledger.read()
        self.gaps = gaps(self._ledger.notes)
        if self._wire is not None:
            self.hand_overs = hand_overs(
                self._ledger.notes, self._wire.exchanges, arrivals=stream.put_at, stopped=self._stopped
            )
            self.other_ages = other_ages(self._ledger.notes, stream.put_at)
            self.answers = self._wire.answers()
        return check(self._ledger.notes, stream.records, parents=stream.parents, pauses=self._pauses)

    async def _play(self, stream: Stream, disturbances: list[Disturbance], done: Callable[[], object]) -> None:
        async with anyio.create_task_group() as workers:
            ending = anyio.Event()
            for slot in range(WORKERS):
                workers.start_soon(self._work, slot, ending)
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._write, stream)
                await self._until_more_is_done(1)
                for worker in list(self._workers.values()):
                    await worker.until_logged("mapping_ready")
                async with anyio.create_task_group() as disturbing:
                    for disturbance in disturbances:
                        await anyio.sleep(self._randomness.uniform(0, self._longest_quiet_in_seconds))
                        await self._room.acquire()
                        slot = self._chosen()
                        self._disturbed.add(slot)
                        disturbing.start_soon(self._disturb, slot, disturbance)
                        self.counts[disturbance] += 1
                        done()
                writing.cancel_scope.cancel()
            wanted = sum(map(len, stream.records.values()))
            while len(self._ledger.done) < wanted:
                await self._until_more_is_done(len(self._ledger.done) + 1)
            ending.set()
            for worker in self._workers.values():
                await worker.until_logged("daemon_started")  # before that, a signal would kill it
                worker.signal(signal.SIGTERM)

    async def _write(self, stream: Stream) -> None:
        while True:
            with anyio.CancelScope(shield=True):  # a record whose number is not known cannot be checked
                await stream.put([f"key-{self._randomness.random()}" for _ in range(RECORDS_AT_ONCE)])
                if self._randomness.random() < SPLITTING_RATE:
                    await stream.split(self._randomness)
            await anyio.sleep(PAUSE_BETWEEN_PUTS_IN_SECONDS)

    async def _work(self, slot: int, ending: anyio.Event) -> None:
        """Run one worker after another, until the end. A worker that ends must have been killed or stopped."""
        while not ending.is_set():
            async with self._running(slot) as worker:
                code = await worker.ended(within=inf)
            if worker.logged("checkpoints_lost"):
                continue  # a slow machine: the table has not answered in time, which costs repeated records
            assert code in (0, -signal.SIGKILL), f"{worker.run} has ended with {code}:\n{worker.text}"

    def _chosen(self) -> int:
        """Return a worker that is not disturbed; one that has invoked the function lately, if there is one."""
        self._ledger.read()
        lately = {note.worker for note in self._ledger.notes[-LATELY:]}
        free = {slot: worker for slot, worker in self._workers.items() if slot not in self._disturbed}
        return self._randomness.choice([slot for slot, worker in free.items() if worker.run in lately] or [*free])

    async def _disturb(self, slot: int, disturbance: Disturbance) -> None:
        worker = self._workers[slot]
        await worker.until_logged("daemon_started")
        match disturbance:
            case "kill":
                worker.signal(signal.SIGKILL)
                await worker.is_replaced.wait()
            case "stop":
                self._stopped[worker.run] = time.monotonic()
                worker.signal(signal.SIGTERM)
                await worker.is_replaced.wait()
                await self._workers[slot].until_logged("mapping_ready")
            case "pause":
                await self._pause(worker)
        self._disturbed.discard(slot)
        self._room.release()

    async def _pause(self, worker: Worker) -> None:
        self._pauses[worker.run] += 1
        children = descendants(worker.pid) if self._randomness.random() < 0.5 else set()
        for pid in [*children, worker.pid]:
            os.kill(pid, signal.SIGSTOP)
        await anyio.sleep(self._randomness.uniform(SHORTEST_PAUSE_IN_SECONDS, self._longest_pause_in_seconds))
        for pid in [worker.pid, *children]:
            with suppress(ProcessLookupError):  # the worker goes on, and may already have killed a child
                os.kill(pid, signal.SIGCONT)

    async def _until_more_is_done(self, count: int) -> None:
        with anyio.fail_after(LONGEST_CATCHING_UP_IN_SECONDS):
            while len(self._ledger.done) < count:
                await anyio.sleep(0.1)
                self._ledger.read()

    @asynccontextmanager
    async def _running(self, slot: int) -> AsyncIterator[Worker]:
        self._runs += 1
        run, folder = f"worker-{slot}/{self._runs}", self._folder / f"worker-{slot}"
        folder.mkdir(exist_ok=True)
        file = folder / "poller.toml"
        ledger = self._folder / "ledger.jsonl"
        async with AsyncExitStack() as proxies:
            endpoints = dict(self._endpoints)
            if self._wire is not None:
                for name in ("kinesis", "ministack"):
                    endpoints[name] = await proxies.enter_async_context(self._wire.proxy(run, endpoints[name]))
            file.write_text(SETTINGS.format(region=REGION, worker=f"worker-{slot}", ledger=ledger, **endpoints))
            async with self._process(slot, run, folder, file) as worker:
                yield worker

    @asynccontextmanager
    async def _process(self, slot: int, run: str, folder: Path, file: Path) -> AsyncIterator[Worker]:
        log = await log_pipe()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "poller", "run", "-c", str(file)),
            env=environment(None, RUN=run, **_credentials(self._endpoints["account"]), **_clock(CLOCKS[slot])),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log.writing,
        )
        os.close(log.writing)
        worker = Worker(run, process, log, self._watch)
        if slot in self._workers:
            self._workers[slot].is_replaced.set()
        self._workers[slot] = worker
        reading = asyncio.create_task(worker.read())
        try:
            yield worker
        except BaseException as error:
            error.add_note(f"the end of the log of {run}:\n" + "".join(worker.text.splitlines(True)[-LINES_SHOWN:]))
            raise
        finally:
            if process.returncode is None:
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.wait()
                await reading
            log.transport.close()
            (folder / f"run-{run.rpartition('/')[2]}.log").write_text(worker.text)


class Worker(Daemon):
    """One run of one worker. `run` is its name in the function's notes."""

    def __init__(self, run: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.run = run
        self.is_replaced = anyio.Event()


def _credentials(account: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": account, "AWS_SECRET_ACCESS_KEY": "test"}


def _clock(offset: str) -> dict[str, str]:
    """Return the variables that change a process's time of day, if libfaketime is installed."""
    library = next((path for path in LIBFAKETIME if Path(path).exists()), None)
    if not offset or library is None:
        return {}
    return {"LD_PRELOAD": library, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
