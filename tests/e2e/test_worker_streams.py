"""Do several worker processes share a stream, and does no death of one of them lose or disorder a record?"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest

from poller.model.invocation import Answered, Invocation, Response
from poller.model.lease import shard_of
from poller.stores.sqlite_leases import SqliteLeaseStore
from tests.e2e.harness import Daemon, World, poller
from tests.e2e.stream_functions import sequence_number
from tests.e2e.streams import Clicks, mapping
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio

BILL = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
SHARDS = 6
PAUSE_BETWEEN_PUTS_IN_SECONDS = 0.02
LONGEST_GAP_IN_SECONDS = 5.0
"""How long the shards of a dead worker may wait. If the parent did not tell its death, it would be 10 to 20 seconds."""


class FencedFunction:
    """A function that refuses the past, as the README says: an invocation with an older token than it has seen.

    `done` has the records of each shard in the order in which they were accepted. `gaps` has the time from the last
    delivery with an old token to the first one with a new token, for each hand-over of a shard.
    """

    def __init__(self, stream: Clicks, watch: Watch) -> None:
        self.done: dict[str, list[str]] = defaultdict(list)
        self.tokens: dict[str, int] = {}
        self.last_at: dict[str, float] = {}
        self.gaps: list[float] = []
        self._stream = stream
        self._watch = watch

    async def invoke(self, invocation: Invocation) -> Response:
        numbers = [sequence_number(record) for record in orjson.loads(invocation.payload)["Records"]]
        shard = self._stream.shard_of(numbers[0])
        assert invocation.fencing_token is not None
        if invocation.fencing_token >= self.tokens.get(shard, 0):
            if invocation.fencing_token > self.tokens.get(shard, invocation.fencing_token):
                self.gaps.append(anyio.current_time() - self.last_at[shard])
            self.tokens[shard] = invocation.fencing_token
            self.done[shard] += numbers
            self.last_at[shard] = anyio.current_time()
            self._watch.ring()
        return Answered(b"null")

    def is_all_done(self) -> bool:
        return {number for numbers in self.done.values() for number in numbers} == self._stream.kinds.keys()

    def check(self) -> None:
        """Check that no record is missing, and that each shard only ever went on, or back to a checkpoint."""
        assert self.is_all_done()
        for shard, numbers in self.done.items():
            put = [number for shard_id, number, _ in self._stream.puts if shard_id == shard]
            place = {number: index for index, number in enumerate(put)}
            reached = -1
            for number in numbers:
                assert place[number] <= reached + 1, f"{number} of {shard} came before the record in front of it"
                reached = place[number]


class Scene:
    """Three workers, a stream into which somebody writes all the time, and its function."""

    def __init__(self, world: World) -> None:
        self.clicks = Clicks(world.aws, "clicks", shard_count=SHARDS)
        self.function = FencedFunction(self.clicks, world.watch)
        self._world = world
        self._writing = anyio.CancelScope()
        world.state = f"sqlite://{world.folder}/poller.db"
        world.aws.functions[BILL] = self.function

    def settings(self) -> str:
        text = f'[functions.bill]\narn = "{BILL}"\ntimeout_in_seconds = 1\n'
        return text + mapping("clicks", self.clicks, "bill", "batch_size = 10")

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[Daemon]:
        """Run the daemon. At the end of the block wait until all records are done, stop the daemon, and check."""
        async with self._world.daemon(self.settings(), "--workers", "3") as daemon:
            for number in (1, 2, 3):
                await daemon.until_logged("mapping_ready", worker=number)
            async with self.writing():
                yield daemon
            assert await daemon.stop() == 0
        self.function.check()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write into the stream all the time. At the end of the block wait until all records are done."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            await self.until(lambda: len(self.function.done) == SHARDS)
            yield
            self._writing.cancel()
            await self.until(self.function.is_all_done)

    async def until(self, condition: Callable[[], bool]) -> None:
        await self._world.watch.until(condition)

    async def until_all_go_on(self) -> float:
        """Wait until each shard has been delivered to the function again; return how long this took."""
        began = anyio.current_time()
        await self.until(lambda: all(at > began for at in self.function.last_at.values()))
        return anyio.current_time() - began

    async def _write(self) -> None:
        with self._writing:
            for number in range(1_000_000):
                self.clicks.put(f"key-{number % 100}")
                await anyio.sleep(PAUSE_BETWEEN_PUTS_IN_SECONDS)


def pid_of(daemon: Daemon, number: int) -> int:
    return int(daemon.logged("worker_started", worker=number)[-1]["pid"])


async def test_when_workers_die_no_record_is_lost_or_reordered_and_shards_wait_only_briefly(world: World) -> None:
    """Worker 1 is killed, worker 2 gets SIGTERM, and worker 3 is stopped for longer than its leases."""
    scene = Scene(world)
    async with scene.playing() as daemon:
        os.kill(pid_of(daemon, 1), signal.SIGKILL)
        assert await scene.until_all_go_on() < LONGEST_GAP_IN_SECONDS
        await scene.until(lambda: len(daemon.logged("mapping_ready", worker=1)) == 2)
        tokens = dict(scene.function.tokens)
        os.kill(pid_of(daemon, 3), signal.SIGSTOP)
        os.kill(pid_of(daemon, 2), signal.SIGTERM)
        await daemon.until_logged("worker_ended", worker=2, exit_status=0)
        await scene.until(lambda: all(scene.function.tokens[shard] > token for shard, token in tokens.items()))
        os.kill(pid_of(daemon, 3), signal.SIGCONT)
        await daemon.until_logged("leases_lost", worker=3)
        await scene.until_all_go_on()
    assert [line["worker"] for line in daemon.logged("worker_ended")] == [1, 2], "worker 3 was not killed"


async def test_a_worker_that_starts_again_after_a_reload_shares_the_state_of_the_start(world: World) -> None:
    """The file names another state by now, which only a restart of the whole daemon uses."""
    scene = Scene(world)
    async with scene.playing() as daemon:
        world.state = f"sqlite://{world.folder}/other.db"
        world.write(scene.settings())
        reloaded = [poller(world.folder, "reload", "-c", "poller.toml", "--json")]
        os.kill(pid_of(daemon, 2), signal.SIGKILL)
        await scene.until(lambda: len(daemon.logged("mapping_ready", worker=2)) == 2)
        await scene.until_all_go_on()
        async with SqliteLeaseStore(world.folder / "poller.db") as state:
            rows = {row.key: row for row in await state.scan() if row.checkpoint is not None}
        reloaded.append(poller(world.folder, "reload", "-c", "poller.toml", "--json"))
    opened = daemon.logged("state_opened")
    assert [(line["state"], line["worker"]) for line in opened[3:]] == [(f"sqlite://{world.folder}/poller.db", 2)]
    assert len(rows) == SHARDS
    assert opened[3]["positions"] == SHARDS
    assert scene.function.tokens.keys() == {shard_of(key) for key in rows}
    assert list(world.folder.glob("other*")) == []
    for answer in reloaded:
        assert orjson.loads(answer.stdout)["needs_restart"] == ["daemon.state", "daemon.event_queue"]
