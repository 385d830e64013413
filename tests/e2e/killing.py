"""How does a test kill a daemon at random moments, and how does it check the streams afterwards?

One daemon has four mappings: a Kinesis stream and a table's stream, each with handlers in child processes and with a
function of AWS Lambda, one of the two with its lanes by key. The daemon is killed and started again at once. Meanwhile
records are put (some are filtered out, some are poison), shards split, merge and roll over, functions fail at random
and are throttled, and answers get lost. Poison records are isolated by bisection and reported to a queue. Between a
death and the next start the stored positions are read. At the end `kill_history.py` checks the whole history of each
mapping, and no child process may be left.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import orjson
from anyio.abc import TaskGroup

from poller.aws.signing import Credentials
from poller.model.ids import MappingName
from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Response, Throttled
from poller.model.stream import StateKey
from poller.stores.lease_by_hand import stored
from tests.e2e import stream_functions
from tests.e2e.harness import Daemon, World, environment, until_gone
from tests.e2e.kill_history import Began, Ended, Event, KillHistory, Reported, Stored, Summary
from tests.e2e.streams import Clicks, Kind, Source, Users, mapping
from tests.fakes.aws_over_http import AwsOverHttp
from tests.fakes.queue import FakeQueue
from tests.fakes.watch import History

WORKING_LIVES = 2
"""The first lives are killed only after each mapping has invoked its function."""

STARTING_RATE = 0.15
LONGEST_START_IN_SECONDS = 1.0
LONGEST_LIFE_IN_SECONDS = 1.5
PAUSE_BETWEEN_PUTS_IN_SECONDS = 0.02
MOST_RECORDS_AT_ONCE = 2
MOST_OPEN_SHARDS = 5
RESHARDING_RATE = 0.01
KINDS: tuple[Kind, ...] = (*("plain",) * 178, *("skipped",) * 21, "poison")
KEYS = [f"key-{number}" for number in range(30)]
TROUBLE_RATE = 0.02
LONGEST_CATCHING_UP_IN_SECONDS = 60.0
"""The longest time, after the last kill, between two records that are done. Then the history says what is missing."""

LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:"
SETTINGS = (
    "batch_size = 10",
    "maximum_retry_attempts = 1",
    "bisect_batch_on_function_error = true",
)
FACTOR = "parallelization_factor = 4"


@dataclass(eq=False, kw_only=True)
class Reader:
    """A mapping and its history. `done` has the records that `catch_up` knows to be done."""

    name: str
    source: Source
    function: str
    failures: FakeQueue
    is_by_key: bool
    events: list[Event] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    _seen: int = 0
    _reports: int = 0

    @property
    def setting(self) -> str:
        options = [*SETTINGS, f"filter_criteria.filters = {self.source.filters}", *([FACTOR] if self.is_by_key else [])]
        report = f'destination_config.on_failure.destination_arn = "{self.failures.arn}"'
        return mapping(self.name, self.source, self.function, *options, report)

    def catch_up(self) -> None:
        """Read which records were reported, each alone, and which are done."""
        if self.failures_history.counts["sent"] > self._reports:
            self._take_in_reports()
        for event in self.events[self._seen :]:
            if isinstance(event, Ended):
                self.done.update(event.numbers)
            elif isinstance(event, Reported):
                self.done.add(event.number)
        self._seen = len(self.events)

    def has_begun(self, life: int) -> bool:
        """Return whether the function was invoked in the present life."""
        return any(isinstance(event, Began) and event.life == life for event in self.events[self._seen :])

    @property
    def failures_history(self) -> History:
        assert isinstance(self.failures.history, History)
        return self.failures.history

    def _take_in_reports(self) -> None:
        sent = {entry.message_id: entry.at for entry in self.failures_history if entry.kind == "sent"}
        while wires := self.failures.receive(10, now=anyio.current_time(), visibility_timeout_in_seconds=43_200):
            for wire in wires:
                body = orjson.loads(wire["Body"])
                [info] = [body[name] for name in ("KinesisBatchInfo", "DDBStreamBatchInfo") if name in body]
                assert info["batchSize"] == 1, body
                self.events.append(Reported(sent[wire["MessageId"]], info["startSequenceNumber"]))
                self._reports += 1


class OnLambda:
    """A function that continues after the daemon was killed."""

    def __init__(self, aws: AwsOverHttp, events: list[Event], randomness: random.Random) -> None:
        self._aws = aws
        self._events = events
        self._randomness = randomness

    async def invoke(self, invocation: Invocation) -> Response:
        life = int(self._aws.clients[invocation.request_id].removeprefix("LIFE"))
        records = orjson.loads(invocation.payload)["Records"]
        if self._randomness.random() < TROUBLE_RATE:
            return Throttled(reason="throttled")
        numbers = [stream_functions.sequence_number(record) for record in records]
        self._events.append(Began(anyio.current_time(), life, numbers))
        await anyio.sleep(self._randomness.uniform(0, stream_functions.LONGEST_CALL_IN_SECONDS))
        if stream_functions.is_failing(records):
            return FunctionError(error_type="ValueError", message="by plan")
        self._events.append(Ended(anyio.current_time(), life, numbers))
        return LostAnswer(reason="ConnectionLost") if self._randomness.random() < TROUBLE_RATE else Answered(b"null")


class Ledger:
    """The lines that the handlers write, read as they are written."""

    def __init__(self, path: Path, events: Mapping[str, list[Event]]) -> None:
        self._path = path
        self._events = events
        self._read = 0
        path.touch()

    def read(self) -> None:
        """Read the new lines. An incomplete line is left for the next read."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            what, at, function, life, numbers = orjson.loads(line)
            self._events[function].append((Began if what == "began" else Ended)(at, life, numbers))


class Killing:
    """Runs and kills the daemon again and again.

    `children` counts the processes that were left when the daemon was killed.
    """

    def __init__(self, world: World, *, randomness: random.Random) -> None:
        self.children = 0
        self.reshardings = 0
        self._world = world
        self._randomness = randomness
        self._life = 0
        world.state = "sqlite://poller.db"
        clicks, users = Clicks(world.aws, "clicks", shard_count=3), Users(world.aws, "users", shard_count=2)
        self._sources: tuple[Source, ...] = (clicks, users)
        self.readers = [
            self._reader("clicks_handlers", clicks, is_handler=True, is_by_key=False),
            self._reader("clicks_lambda", clicks, is_handler=False, is_by_key=True),
            self._reader("users_handlers", users, is_handler=True, is_by_key=True),
            self._reader("users_lambda", users, is_handler=False, is_by_key=False),
        ]
        ledger = world.folder / "ledger.jsonl"
        self._ledger = Ledger(ledger, {reader.function: reader.events for reader in self.readers})
        self._settings = "".join(_handlers(reader, ledger) + reader.setting for reader in self.readers)

    async def run(self, kills: int, *, killed: Callable[[], object] = lambda: None) -> Mapping[str, Summary]:
        """Run all lives. `killed` is called for each kill. Raise AssertionError if a rule was broken."""
        async with anyio.create_task_group() as group:
            writing = anyio.CancelScope()
            group.start_soon(self._write, writing)
            for _ in range(kills):
                await self._live_until_killed(group)
                killed()
            writing.cancel()
            await self._live_to_the_end()
        await until_gone(left_behind(self._world.folder))
        return {
            reader.name: KillHistory(reader.source, is_by_key=reader.is_by_key).check(reader.events)
            for reader in self.readers
        }

    def _reader(self, name: str, source: Source, *, is_handler: bool, is_by_key: bool) -> Reader:
        function = f"{name}_function" if is_handler else f"{LAMBDA}{name}"
        failures = self._world.queue(f"failures-of-{name}")
        reader = Reader(name=name, source=source, function=function, failures=failures, is_by_key=is_by_key)
        if not is_handler:
            self._world.aws.functions[function] = OnLambda(self._world.aws, reader.events, self._randomness)
        return reader

    async def _write(self, writing: anyio.CancelScope) -> None:
        with writing:
            while True:
                for source in self._sources:
                    for _ in range(self._randomness.randint(0, MOST_RECORDS_AT_ONCE)):
                        source.put(self._randomness.choice(KEYS), self._randomness.choice(KINDS))
                    if self._randomness.random() < RESHARDING_RATE:
                        self._reshard(source)
                await anyio.sleep(PAUSE_BETWEEN_PUTS_IN_SECONDS)

    def _reshard(self, source: Source) -> None:
        self.reshardings += 1
        open_shards = [shard for shard in source.shards if shard.is_open]
        count = len(open_shards)
        if count < 2 or (count < MOST_OPEN_SHARDS and self._randomness.random() < 0.5):
            source.split(self._randomness.choice(open_shards).shard_id)
        else:
            source.join(self._randomness)

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[Daemon]:
        """Run the next life. Its credentials and its environment distinguish it from the others."""
        self._life += 1
        keys = Credentials(f"LIFE{self._life}", "secret-access-key", "session-token")
        self._world.aws.signatures.knows(keys)
        self._world.environment = environment(keys, LIFE=str(self._life), FOLDER=str(self._world.folder))
        async with self._world.daemon(self._settings) as daemon:
            yield daemon
        self._note_what_is_stored()

    async def _live_until_killed(self, group: TaskGroup) -> None:
        async with self._daemon() as daemon:
            await self._random_moment()
            daemon.signal(signal.SIGKILL)
            assert await daemon.ended() == -signal.SIGKILL
            left = left_behind(self._world.folder, life=self._life)
            self.children += len(left)
            group.start_soon(until_gone, left)

    async def _random_moment(self) -> None:
        """Wait for a random moment: at first always while the daemon works, later sometimes while it starts."""
        if self._life > WORKING_LIVES and self._randomness.random() < STARTING_RATE:
            await anyio.sleep(self._randomness.uniform(0, LONGEST_START_IN_SECONDS))
        else:
            await self._world.watch.until(self._has_each_begun, within=LONGEST_CATCHING_UP_IN_SECONDS)
            await anyio.sleep(self._randomness.uniform(0, LONGEST_LIFE_IN_SECONDS))

    def _has_each_begun(self) -> bool:
        """Return whether each function was invoked in this life."""
        self._ledger.read()
        return all(reader.has_begun(self._life) for reader in self.readers)

    def _note_what_is_stored(self) -> None:
        found, at = stored(self._world.folder / "poller.db"), anyio.current_time()
        self._catch_up()
        for reader in self.readers:
            key = StateKey(MappingName(reader.name), reader.source.arn)
            checkpoints = found[key].checkpoints if key in found else {}
            positions = {shard_id: checkpoint.position for shard_id, checkpoint in checkpoints.items()}
            reader.events.append(Stored(at, self._life, positions))

    async def _live_to_the_end(self) -> None:
        async with self._daemon() as daemon:
            while not self._is_all_done() and await self._is_anything_done():
                pass
            assert await daemon.stop() == 0

    def _catch_up(self) -> None:
        self._ledger.read()
        for reader in self.readers:
            reader.catch_up()

    def _is_all_done(self) -> bool:
        return all(len(reader.done) >= reader.source.wanted for reader in self.readers)

    async def _is_anything_done(self) -> bool:
        """Wait until a record is done; return False if the time is over."""
        before = self._done()
        with suppress(AssertionError):
            await self._world.watch.until(lambda: self._done() > before, within=LONGEST_CATCHING_UP_IN_SECONDS)
        return self._done() > before

    def _done(self) -> int:
        self._catch_up()
        return sum(len(reader.done) for reader in self.readers)


def _handlers(reader: Reader, ledger: Path) -> str:
    """Return the settings of a function in child processes, and nothing for a Lambda function."""
    if reader.function.startswith(LAMBDA):
        return ""
    return f"""
        [functions.{reader.function}]
        handler = "tests.e2e.stream_functions:consume"
        environment = {{ LEDGER = "{ledger}" }}
    """


def left_behind(folder: Path, *, life: int | None = None) -> list[int]:
    """Return a file descriptor for each process of the daemons of this folder, or of one life; for `until_gone`."""
    wanted = {f"FOLDER={folder}".encode()} | (set() if life is None else {f"LIFE={life}".encode()})
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours
            if wanted <= set((process / "environ").read_bytes().split(b"\0")):
                found.append(os.pidfd_open(int(process.name)))
    return found
