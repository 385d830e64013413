"""What happens to a stream mapping when its shards move from one worker to another? The clock is virtual.

Several processes of one world share its state. `tests/simulation/test_leases.py` has the scenes of the leases alone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.engine.leases.hands import KEPT_IN_SECONDS
from poller.errors import Unreachable
from poller.facts import LeasesGivenAway, LeasesLost, MappingReady
from poller.model.stream import (
    AfterSequence,
    Latest,
    Position,
    Read,
    SequenceNumber,
    Shard,
    ShardId,
    ShardIterator,
    TrimHorizon,
)
from poller.ports import StreamSource
from poller.sources.client import Client
from tests.fakes.faults import FaultPlan
from tests.simulation.life import Life
from tests.simulation.one_stream import play
from tests.simulation.steps import stopping_after
from tests.simulation.stream_workers import WorkersWorld, longest_gap, reading, until


def play_workers(world: WorkersWorld, *scripts: Callable[[Life], Coroutine[Any, Any, None]], shards: int = 1) -> None:
    """Play one worker for each script, all at the same time."""

    async def main() -> None:
        async with anyio.create_task_group() as workers:
            for script in scripts:
                workers.start_soon(world.live, script)

    play(world, main, shards=shards)


def after(seconds: float, script: Callable[[Life], Coroutine[Any, Any, None]]) -> Any:
    """Return a script for a worker whose process exists from the beginning, but that does something later."""

    async def later(life: Life) -> None:
        await anyio.sleep(seconds)
        await script(life)

    return later


def test_each_owner_of_a_shard_has_a_larger_fencing_token_than_the_owners_before() -> None:
    world = WorkersWorld(batch_size=1)

    async def main() -> None:
        for name in ("a", "b", "c"):
            world.put("key", name)
            await world.live(stopping_after(5))

    play(world, main)
    assert world.succeeded == ["a", "b", "c"]
    tokens = [seen.token for seen in world.seen]
    assert tokens == sorted(set(tokens))


def test_a_blocked_batch_moves_to_the_next_worker_with_its_attempts_its_request_id_and_its_age() -> None:
    world = WorkersWorld(batch_size=10, maximum_retry_attempts=5)
    world.poison = {"b"}
    since: list[float] = []

    async def until(life: Life) -> None:
        world.put("key", "a", "b", "c")
        while len(world.seen) < 3:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        life.begin_stop()

    async def then(life: Life) -> None:
        while len(world.seen) < 5:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        stream = life.supervisor.statuses()[0].stream
        assert stream is not None
        [blocked] = stream.blocked
        since.append(blocked.since - world.clock.now() + anyio.current_time())
        await anyio.sleep(100)
        life.begin_stop()

    async def main() -> None:
        await world.live(until)
        await anyio.sleep(7)
        world.put("key", "d", "e")
        await world.live(then)

    play(world, main)
    of_batch = [seen for seen in world.seen if "b" in seen.names]
    assert [seen.attempt for seen in of_batch] == [1, 2, 3, 4, 5, 6]
    assert {tuple(seen.names) for seen in of_batch} == {("a", "b", "c")}, "later records have their own attempts"
    assert len({seen.request_id for seen in of_batch}) == 1
    assert len({seen.token for seen in of_batch}) == 2
    assert since == pytest.approx([0.0], abs=0.5), "the time without a worker counts, too"
    assert world.succeeded == ["d", "e"]


def test_attempts_count_only_for_the_same_batch() -> None:
    """The mapping was changed meanwhile, and its batches are smaller."""
    world = WorkersWorld(batch_size=3, maximum_retry_attempts=5)
    world.poison = {"a"}

    async def main() -> None:
        async def until(life: Life) -> None:
            world.put("key", "a", "b", "c")
            while len(world.seen) < 3:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            life.begin_stop()

        await world.live(until)
        world.options["batch_size"] = 1
        await world.live(stopping_after(200))

    play(world, main)
    alone = [seen for seen in world.seen if seen.names == ["a"]]
    assert [seen.attempt for seen in alone] == [1, 2, 3, 4, 5, 6]
    assert world.succeeded == ["b", "c"]


def test_a_worker_that_stops_gives_its_shard_to_the_next_one_when_its_invocation_has_ended() -> None:
    """Nothing is repeated, and the shard stays without a reader for no longer than two seconds."""
    world = WorkersWorld(batch_size=1)
    world.duration = 4.0

    async def old(life: Life) -> None:
        await anyio.sleep(20)
        world.put("key", "a", "b")
        await anyio.sleep(1.5)
        assert world.calls == [["a"]]
        life.begin_stop()

    play_workers(world, old, after(5, stopping_after(40)))
    assert world.succeeded == ["a", "b"]
    assert world.calls == [["a"], ["b"]]
    first, second = world.seen
    assert second.token > first.token
    assert second.at - first.at < 4.0 + 2.0
    assert not world.facts_of(LeasesLost)


def test_a_worker_that_has_too_much_gives_shards_away_and_cuts_no_invocation() -> None:
    world = WorkersWorld(batch_size=1)
    world.duration = 3.0
    readers: list[list[int]] = []
    lives: list[Life] = []

    async def first(life: Life) -> None:
        lives.append(life)
        for number in range(50):
            for shard in range(4):
                world.put_at(shard * 2**126, f"{shard}/{number}")
            await anyio.sleep(3)
        life.begin_stop()

    async def second(life: Life) -> None:
        lives.append(life)
        await anyio.sleep(100)
        readers.append([status.polls_in_flight for each in lives for status in each.supervisor.statuses()])
        await anyio.sleep(200)
        life.begin_stop()

    async def main() -> None:
        async with anyio.create_task_group() as workers:
            workers.start_soon(world.live, first)
            await anyio.sleep(30)
            workers.start_soon(world.live, second)

    play(world, main, shards=4)
    assert readers == [[2, 2]]
    assert len(world.calls) == len(world.succeeded) == len(set(world.succeeded)) == 200, "none is cut or repeated"
    assert not world.facts_of(LeasesLost)


def test_two_workers_that_begin_together_with_latest_lose_nothing_that_comes_after_the_first_is_ready() -> None:
    """The second one lists while the first one is ready already, and finds a shard that the first one has not seen."""

    class Slow(WorkersWorld):
        """The listing of the second worker takes long. Meanwhile the first one is ready, and the shard is split."""

        sources = 0

        def source(self, mapping: Any, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            self.sources += 1
            listed, is_slow = source.shards, self.sources == 2

            async def shards() -> list[Shard]:
                if is_slow and anyio.current_time() < 10:
                    await anyio.sleep(10)
                    self.put_at(0, "keeps the first worker from looking for children")
                    self.stream.split("shardId-000000000000", now=anyio.current_time())
                    self.put_at(0, "between the split and the listing")
                    await anyio.sleep(3)
                    answer = await listed()
                    self.put_at(0, "after the listing")
                    return answer
                return await listed()

            source.shards = shards  # type: ignore[method-assign]
            return source

    world = Slow(starting_position=Latest(), batch_size=1)
    world.duration = 8.0
    world.store.faults.latency_in_seconds = (0.05, 0.05)  # both see that the mapping has not begun
    play_workers(world, stopping_after(60), stopping_after(60))
    assert world.facts_of(MappingReady)
    assert sorted(set(world.succeeded))[:2] == ["after the listing", "between the split and the listing"]


def test_a_crash_in_the_middle_of_a_first_start_lets_no_shard_begin_at_its_oldest_record() -> None:
    """The parent has a row then, and its children have none."""
    world = WorkersWorld(starting_position=Latest(), batch_size=1)
    world.store.faults.latency_in_seconds = (0.05, 0.05)

    def shards_with_rows() -> int:
        return sum(map(len, world.store.stored.values()))

    async def main() -> None:
        world.stream.split("shardId-000000000000", now=anyio.current_time())
        world.put("key", "too old")

        async def until(life: Life) -> None:
            while not shards_with_rows():  # noqa: ASYNC110
                await anyio.sleep(0.001)
            life.crash()

        await world.live(until)
        assert shards_with_rows() == 1

        async def put(_life: Life) -> None:
            await anyio.sleep(5)
            world.put("key", "after")

        await world.live(stopping_after(20), beside=put)

    play(world, main)
    assert world.succeeded == ["after"]


def test_a_shard_that_comes_between_two_processes_is_read_from_its_beginning_also_with_latest() -> None:
    world = WorkersWorld(starting_position=Latest(), batch_size=1)

    async def main() -> None:
        await world.live(stopping_after(5))
        world.stream.split("shardId-000000000000", now=anyio.current_time())
        world.put("key", "between")
        await anyio.sleep(10)
        await world.live(stopping_after(20))

    play(world, main)
    assert world.succeeded == ["between"]


def test_iterators_of_a_first_start_are_not_used_after_another_worker_has_read_the_shard() -> None:
    class Watched(WorkersWorld):
        """A world that notes at which positions iterators are requested."""

        def __init__(self) -> None:
            super().__init__(starting_position=Latest(), batch_size=1)
            self.positions: list[Position] = []

        def source(self, mapping: Any, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            get = source.iterator

            async def iterator(shard_id: ShardId, position: Position) -> ShardIterator:
                self.positions.append(position)
                return await get(shard_id, position)

            source.iterator = iterator  # type: ignore[method-assign]
            return source

    world = Watched()
    numbers: list[str] = []

    async def old(life: Life) -> None:
        await anyio.sleep(20)
        numbers.append(world.put_one("key", "a"))
        await anyio.sleep(5)
        life.begin_stop()

    async def new(life: Life) -> None:
        await anyio.sleep(27)  # until then, the old process reads on
        world.put("key", "b")
        await anyio.sleep(30)
        life.begin_stop()

    play_workers(world, old, new)
    assert world.succeeded == ["a", "b"]
    assert world.positions == [Latest(), Latest(), AfterSequence(SequenceNumber(numbers[0]))]


async def two_workers(world: WorkersWorld, tasks: TaskGroup) -> list[Life]:
    """Start two processes, and wait until each one reads two of the four shards."""
    lives = [await world.start(tasks) for _ in range(2)]
    await until(lambda: [reading(life) for life in lives] == [2, 2], within=60)
    await anyio.sleep(5)
    world.facts.clear()
    return lives


@pytest.mark.parametrize("seconds_between", [0.0, 0.01, 0.1, 1.0])
def test_two_workers_that_reload_at_the_same_moment_give_no_lease_away(seconds_between: float) -> None:
    """Each worker keeps its leases for the next run of the mapping. So no two plans have to agree about them."""
    world = WorkersWorld()

    async def reload(life: Life) -> None:
        await life.supervisor.replace(world.mapping, life.function(world.mapping))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            tasks.start_soon(reload, lives[0])
            await anyio.sleep(seconds_between)
            tasks.start_soon(reload, lives[1])
            assert await longest_gap(lives, 4, seconds=30) < 0.5
            assert not world.facts_of(LeasesGivenAway)
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)


def test_after_a_pause_at_two_workers_each_shard_is_read_at_once() -> None:
    """The leases were given away meanwhile. Each worker takes its own ones again, because no other worker has them."""
    world = WorkersWorld()
    seconds = 4.0

    async def pause(life: Life) -> None:
        await life.supervisor.pause(world.mapping.name)
        await anyio.sleep(seconds)
        await life.supervisor.resume(world.mapping.name)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            for life in lives:
                tasks.start_soon(pause, life)
            assert seconds - 0.2 < await longest_gap(lives, 4, seconds=30) < seconds + 1
            assert sum(fact.leases for fact in world.facts_of(LeasesGivenAway)) == 4
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)


def test_a_blocked_batch_goes_to_the_next_run_with_its_attempts_and_its_request_id() -> None:
    world = WorkersWorld(batch_size=1, maximum_retry_attempts=5)
    world.poison = {"a"}

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            world.put("key", "a")
            for attempts in (2, 4):
                await until(lambda attempts=attempts: len(world.seen) == attempts, within=30)  # type: ignore[misc]
                await life.supervisor.replace(world.mapping, life.function(world.mapping))
            await anyio.sleep(60)
            life.begin_stop()

    play(world, main)
    assert [seen.attempt for seen in world.seen] == [1, 2, 3, 4, 5, 6]
    assert len({seen.request_id for seen in world.seen}) == 1
    assert len({seen.token for seen in world.seen}) == 1, "the lease was kept"


def test_the_shards_of_a_mapping_that_one_worker_has_no_more_are_soon_read_by_another_worker() -> None:
    world = WorkersWorld()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            tasks.start_soon(lives[0].supervisor.remove, world.mapping.name)
            assert await longest_gap(lives, 4, seconds=30) < 1.5
            assert reading(lives[1]) == 4
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)


def test_a_worker_that_reaches_the_state_but_not_its_source_keeps_its_shards_until_it_stops() -> None:
    """A person sees this by the state of its mapping, and stops the worker."""

    class Partitioned(WorkersWorld):
        """A world whose first process loses its source."""

        is_partitioned = False

        def source(self, mapping: Any, client: Client) -> StreamSource:
            source = super().source(mapping, client)
            if len(self.lives) > 1:
                return source
            read = source.read

            async def read_unless_partitioned(iterator: ShardIterator, *, limit: int) -> Read:
                if self.is_partitioned:
                    raise Unreachable("the network is down", code="TimeoutError", was_sent=False)
                return await read(iterator, limit=limit)

            source.read = read_unless_partitioned  # type: ignore[method-assign]
            return source

    world = Partitioned()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            world.is_partitioned = True
            for shard in world.stream.shards(now=0):
                world.put_at(shard.hash_keys[0], shard.shard_id)
            await anyio.sleep(60)
            assert len(world.succeeded) == 2
            assert not [*world.facts_of(LeasesGivenAway), *world.facts_of(LeasesLost)]
            assert [life.supervisor.statuses()[0].state for life in lives] == ["troubled", "ready"]
            lives[0].begin_stop()
            await until(lambda: len(world.succeeded) == 4, within=10)
            lives[1].begin_stop()

    play(world, main, shards=4)


def test_workers_go_on_after_the_whole_table_was_emptied_and_a_restart_skips_nothing() -> None:
    """With LATEST, a mapping that begins anew would skip the records that come while no process runs."""
    world = WorkersWorld(starting_position=Latest())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks), await world.start(tasks)]
            await until(lambda: sum(map(reading, lives)) == 1, within=30)
            world.put("a", "before")
            await until(lambda: world.succeeded == ["before"], within=5)
            world.stream.split("shardId-000000000000", now=anyio.current_time())
            await anyio.sleep(30)
            before = dict(world.store.table.rows)
            for row in before.values():
                assert world.store.table.write("a person", "delete", row, sent_at=anyio.current_time())
            world.put("a", "meanwhile")
            await until(lambda: world.succeeded == ["before", "meanwhile"], within=2 * LEASE_DURATION_IN_SECONDS)
            await anyio.sleep(2 * LEASE_DURATION_IN_SECONDS)
            assert world.store.table.rows.keys() == before.keys()
            for life in lives:
                life.begin_stop()
        world.put("a", "while nobody reads")
        await world.live(stopping_after(15))
        assert [*dict.fromkeys(world.succeeded)] == ["before", "meanwhile", "while nobody reads"]

    play(world, main)


@pytest.mark.parametrize("before_the_scan", [0.1, 2, 8])
@pytest.mark.parametrize("is_whole", [False, True])
def test_a_worker_that_is_alone_reads_on_after_rows_were_lost_while_records_come(
    before_the_scan: float, is_whole: bool
) -> None:
    world = WorkersWorld(starting_position=TrimHorizon())

    async def put() -> None:
        for number in range(2_000):
            world.put(str(number), str(number))
            await anyio.sleep(0.05)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            began = anyio.current_time()
            await until(lambda: reading(life) == 4, within=30)
            tasks.start_soon(put)
            await anyio.sleep(began + 3 * LEASE_DURATION_IN_SECONDS - before_the_scan - anyio.current_time())
            for row in list(world.store.table.rows.values()):
                if is_whole or not row.key.startswith(":"):
                    assert world.store.table.write("a person", "delete", row, sent_at=anyio.current_time())
            await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
            assert reading(life) == 4
            await until(lambda: len(set(world.succeeded)) == 2_000, within=90)
            life.begin_stop()

    play(world, main, shards=4)


def test_a_pause_frees_the_leases_at_once() -> None:
    """So a person can move the positions of a paused mapping."""
    world = WorkersWorld()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await life.supervisor.replace(world.mapping, life.function(world.mapping))
            await anyio.sleep(5)
            await life.supervisor.pause(world.mapping.name)
            await anyio.sleep(0.1)
            assert {row.owner for key, row in world.store.table.rows.items() if not key.startswith(":")} == {None}
            life.begin_stop()

    play(world, main)


def test_the_leases_of_a_paused_mapping_are_offered_to_no_other_worker() -> None:
    """The other worker learns of the pause by its next scan, and would read until then."""
    world = WorkersWorld()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            lives[0].worker.has_paused(world.mapping.name)
            await lives[0].supervisor.pause(world.mapping.name)
            await anyio.sleep(3)
            assert [reading(life) for life in lives] == [0, 2]
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)


def test_after_a_slow_reload_another_worker_reads_the_shards() -> None:
    """A worker keeps its leases for a second, and the run before waits for its longest invocation."""
    world = WorkersWorld(batch_size=1)
    world.duration = 8.0

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            shards = [note.shard_id for note in world.notes.reads if note.life == lives[0].number][-2:]
            assert len(set(shards)) == 2
            world.put_at(2**126 * int(shards[0][-1]), "long")
            await until(lambda: world.calls == [["long"]], within=3)
            tasks.start_soon(lives[0].supervisor.replace, world.mapping, lives[0].function(world.mapping))
            await anyio.sleep(KEPT_IN_SECONDS + 1.5)
            assert reading(lives[1]) == 3
            await anyio.sleep(60)
            assert [reading(life) for life in lives] == [2, 2]
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)
    assert world.calls == [["long"]]


def test_the_last_checkpoint_of_a_run_is_stored_at_once_although_its_lease_is_kept() -> None:
    """A crash then repeats nothing."""
    world = WorkersWorld(faults=FaultPlan(latency_in_seconds=(0.5, 0.5)))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            life = await world.start(tasks)
            await anyio.sleep(5.2)
            world.put("key", "a")
            await until(lambda: world.succeeded == ["a"], within=3)
            tasks.start_soon(life.supervisor.replace, world.mapping, life.function(world.mapping))
            await anyio.sleep(0.1)
            life.crash()
            await until(lambda: life.ended_at is not None, within=1)
            again = await world.start(tasks)
            await until(lambda: reading(again) == 1, within=3)
            await anyio.sleep(3)
            again.begin_stop()

    play(world, main)
    assert world.succeeded == ["a"]


def test_a_blocked_batch_is_tried_again_even_if_its_lane_has_fewer_records_now() -> None:
    """The mapping was changed meanwhile, and the records of the batch go to several lanes."""
    world = WorkersWorld(batch_size=3, maximum_retry_attempts=5)
    world.poison = {"a"}

    async def until_blocked(life: Life) -> None:
        for key, name in enumerate("abc"):
            world.put(f"{key}", name)
        await until(lambda: len(world.seen) == 3, within=30)
        life.begin_stop()

    async def main() -> None:
        await world.live(until_blocked)
        assert {tuple(names) for names in world.calls} == {("a", "b", "c")}
        world.options["parallelization_factor"] = 10
        await world.live(stopping_after(200))

    play(world, main)
    assert sorted(world.succeeded) == ["b", "c"]
    assert [seen.attempt for seen in world.seen if seen.names == ["a"]] == [1, 2, 3, 4, 5, 6]


def test_a_shard_that_waits_for_the_functions_concurrency_leaves_a_worker_that_stops_at_once() -> None:
    world = WorkersWorld(batch_size=1)
    world.functions["f"] = replace(world.functions["f"], reserved_concurrency=1)
    world.duration = 8.0

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            for shard in range(4):
                world.put_at(shard * 2**126, str(shard))
            await until(lambda: len(world.calls) == 2, within=3)
            lives[0].begin_stop()
            await until(lambda: reading(lives[1]) == 3, within=3)
            await until(lambda: len(world.succeeded) == 4, within=60)
            lives[1].begin_stop()

    play(world, main, shards=4)
    assert sorted(world.succeeded) == ["0", "1", "2", "3"]


def test_a_worker_that_does_not_reach_the_stream_says_so_and_delivers_everything_later() -> None:
    """Its lease stays with it: if the stream failed for all workers, leases that move would not help."""
    world = WorkersWorld(batch_size=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            lives[0].process.is_cut_off_from_streams = True
            await anyio.sleep(3)
            for shard in range(4):
                world.put_at(shard * 2**126, str(shard))
            await anyio.sleep(60)
            [cut_off], [other] = (life.supervisor.statuses() for life in lives)
            assert (cut_off.state, other.state) == ("troubled", "ready")
            assert "connection refused" in (cut_off.reason or "")
            assert len(world.succeeded) == 2, "those of the other worker"
            assert [reading(life) for life in lives] == [2, 2]
            lives[0].process.is_cut_off_from_streams = False
            await until(lambda: len(world.succeeded) == 4, within=60)
            for life in lives:
                life.begin_stop()

    play(world, main, shards=4)
    assert sorted(world.succeeded) == ["0", "1", "2", "3"]


def test_a_mapping_whose_workers_share_a_limit_shows_the_units_of_its_own_worker_as_the_limit() -> None:
    world = WorkersWorld(batch_size=1)
    limits: list[int] = []

    async def script(life: Life) -> None:
        await until(lambda: reading(life) == 4, within=3)
        [(function, _)] = life.opened
        for capacity in (1_000, 2, 0):
            function.gate.resize(capacity)  # as its units do
            limits.append(life.supervisor.statuses()[0].concurrency_limit)
        life.begin_stop()

    play_workers(world, script, shards=4)
    assert limits == [4, 2, 0]


def test_a_worker_that_stops_reads_its_shards_until_the_other_one_knows_of_the_stop() -> None:
    world = WorkersWorld()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            await anyio.sleep(0.5)  # the other worker reads its own row only half a second later
            lives[0].begin_stop()
            assert await longest_gap(lives, 4, seconds=10) < 0.3
            assert lives[0].ended_at is not None
            lives[1].begin_stop()

    play(world, main, shards=4)


@pytest.mark.parametrize(("grace", "duration"), [(10.0, 9.5), (1.0, 0.3)])
def test_a_stop_cuts_no_invocation_that_takes_less_than_the_grace(grace: float, duration: float) -> None:
    """The worker begins invocations after the stop has begun, until the other worker knows of the stop."""
    world = WorkersWorld(batch_size=1)
    world.grace_in_seconds, world.duration = grace, duration

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = [await world.start(tasks) for _ in range(2)]
            await until(lambda: [reading(life) for life in lives] == [2, 2], within=60)
            await anyio.sleep(5.1)
            lives[0].begin_stop()
            await anyio.sleep(0.4)
            for number in range(12):
                world.put(f"key-{number}", str(number))
            await until(lambda: len(world.succeeded) == 12, within=200)
            assert len(world.calls) == 12, "no record was delivered twice"
            lives[1].begin_stop()

    play(world, main, shards=4)


def test_a_second_signal_does_not_wait_until_the_other_worker_knows_of_the_stop() -> None:
    world = WorkersWorld()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            lives = await two_workers(world, tasks)
            lives[0].begin_stop()
            lives[0].stop.hurry()
            assert await until(lambda: not reading(lives[0]), within=10) < 0.1
            lives[1].begin_stop()

    play(world, main, shards=4)
