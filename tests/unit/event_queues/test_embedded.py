from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from poller.errors import QueueFull, Rejected, Unreachable
from poller.event_queues import by_hand, jobs
from poller.event_queues.embedded import EmbeddedEventQueue
from poller.model.arn import Arn
from poller.model.event import CLAIM_IN_SECONDS, Ending, Event, LastAttempt, RememberedQueue, TakenEvent
from poller.sqlite import kind as sqlite_kind
from tests.fakes.clock import VirtualClock
from tests.fakes.disk import no_file_grows_beyond, put_away, transactions
from tests.fakes.events import MAIL, RESIZE, event

pytestmark = pytest.mark.anyio

MAXIMUM_BYTES = 10_000_000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


class Process:
    """A process: its clock, which a test may set, and its queue in the file."""

    def __init__(self, path: Path, *, maximum_bytes: int = MAXIMUM_BYTES, ahead: float = 0.0) -> None:
        self.clock = VirtualClock(ahead=ahead)
        self.queue = EmbeddedEventQueue(path, clock=self.clock, maximum_bytes=maximum_bytes)

    def event(self, *, due_in: float = 0.0, payload: bytes = b"{}") -> Event:
        return event(self.clock.now(), due_in=due_in, payload=payload)

    async def take(self, *, wait_in_seconds: float = 0.0) -> list[TakenEvent]:
        return await self.queue.take(RESIZE, count=10, wait_in_seconds=wait_in_seconds)


def size_of(path: Path) -> int:
    """Return the size of the database in bytes, with the pages that are still in its log."""
    with closing(sqlite3.connect(path)) as file:
        return int(file.execute("PRAGMA page_count").fetchone()[0]) * 4096


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the file within the block, as another program might."""
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("BEGIN IMMEDIATE")
        yield
        program.execute("ROLLBACK")


async def test_events_survive_a_restart(path: Path) -> None:
    before = Process(path)
    put = before.event()
    async with before.queue as queue:
        await queue.put([put])
    after = Process(path)
    async with after.queue:
        assert [taken.event for taken in await after.take()] == [put]


async def test_the_events_of_a_dead_process_become_free_when_its_claims_end_if_another_process_lives(
    path: Path,
) -> None:
    async with Process(path).queue:
        before = Process(path)
        put = before.event()
        async with before.queue as queue:
            await queue.put([put])
            await before.take()
        for ahead, taken in ((0.0, []), (CLAIM_IN_SECONDS, [put])):
            after = Process(path, ahead=ahead)
            async with after.queue:
                assert [each.event for each in await after.take()] == taken


async def test_a_restarted_process_takes_the_claimed_events_at_once_if_it_is_alone(path: Path) -> None:
    before = Process(path)
    put = before.event()
    async with before.queue as queue:
        await queue.put([put])
        await before.take()
    after = Process(path)
    async with after.queue:
        assert [each.event for each in await after.take()] == [put]


async def test_concurrent_puts_share_a_flush(path: Path) -> None:
    process = Process(path)
    async with process.queue as queue:
        before = transactions(path)
        async with anyio.create_task_group() as putters:
            for _ in range(500):
                putters.start_soon(queue.put, [process.event()])
        assert 1 <= transactions(path) - before <= 3
        assert (await queue.depth(RESIZE)).waiting == 500


async def test_a_take_that_is_cancelled_while_it_claims_ends_its_claims(path: Path) -> None:
    process = Process(path)
    put = process.event()
    async with process.queue as queue:
        await queue.put([put])
        async with anyio.create_task_group() as takers:
            with locked(path):
                takers.start_soon(process.take)
                await anyio.wait_all_tasks_blocked()
                takers.cancel_scope.cancel()
        with anyio.fail_after(CLAIM_IN_SECONDS / 2):
            assert [taken.event for taken in await process.take(wait_in_seconds=CLAIM_IN_SECONDS)] == [put]


async def test_puts_leave_a_reserve_on_the_disk_for_the_checkpoints(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path)
    answer = LastAttempt(status_code=200, payload=b"1" * 100_000)
    ending = Ending(condition="Success", at=1.0, last=answer, deliveries=("on_success",))
    async with process.queue as queue:
        await queue.put([process.event(), process.event()])
        [first, second] = await process.take()
        monkeypatch.setattr(jobs, "RESERVE_IN_BYTES", 1 << 60)
        with pytest.raises(QueueFull, match="free space") as caught:
            await queue.put([process.event()])
        assert caught.value.code == "DiskNearlyFull"
        with pytest.raises(QueueFull, match="free space"):
            await queue.put_back(first, replace(first.event, ending=ending))
        await queue.put_back(first, replace(first.event, attempts=1, due_at=process.clock.now() + 100))
        await queue.remove(second)
        assert (await queue.depth(RESIZE)).waiting == 1


async def test_a_full_queue_accepts_an_event_that_has_grown_and_is_put_back(path: Path) -> None:
    """If the queue refused the event, the answer would be lost, and the function would be invoked again."""
    process = Process(path, maximum_bytes=100_000)
    ending = Ending(
        condition="Success", at=1.0, last=LastAttempt(status_code=200, payload=b"1" * 100_000), deliveries=()
    )
    async with process.queue as queue:
        await queue.put([process.event(payload=b"1" * 50_000)])
        [taken] = await process.take()
        await queue.put_back(taken, replace(taken.event, ending=ending))
        [taken] = await process.take()
        assert taken.event.ending == ending
        with pytest.raises(QueueFull):
            await queue.put([process.event()])
        await queue.remove(taken)
        await queue.put([process.event()])


async def test_a_nearly_full_queue_accepts_those_of_several_concurrent_puts_that_fit(path: Path) -> None:
    process = Process(path, maximum_bytes=100_000)
    refused: list[int] = []

    async def put(size: int) -> None:
        try:
            await process.queue.put([process.event(payload=b"1" * size)])
        except QueueFull:
            refused.append(size)

    async with process.queue as queue:
        async with anyio.create_task_group() as putters:
            for size in (60_000, 61_000, 62_000, 2):
                putters.start_soon(put, size)
                await anyio.wait_all_tasks_blocked()
        assert sorted(refused) == [61_000, 62_000]
        assert (await queue.depth(RESIZE)).waiting == 2


async def test_a_put_on_a_full_disk_stores_no_event_and_succeeds_once_there_is_room(path: Path) -> None:
    process = Process(path)
    put = [process.event(payload=b"1" * 1_000_000), process.event()]
    async with process.queue as queue:
        with no_file_grows_beyond(200_000), pytest.raises(QueueFull) as caught:
            await queue.put(put)
        assert caught.value.code.startswith("SQLITE_")
        assert await process.take() == []
        await queue.put(put)
        assert len(await process.take()) == 2


async def test_a_put_into_a_removed_file_does_not_blame_the_event(path: Path) -> None:
    """A client of the API then gets status 503, and sends the event again."""
    process = Process(path)
    async with process.queue as queue:
        for another in (False, True):
            with put_away(path, another=another), pytest.raises(Unreachable, match="was removed or replaced") as caught:
                await queue.put([process.event()])
            assert (caught.value.code, caught.value.was_sent) == ("FileGone", False)
        await queue.put([process.event()])


@pytest.mark.slow
async def test_a_waiting_take_raises_an_error_if_the_file_is_removed(path: Path) -> None:
    process = Process(path)
    async with process.queue:
        codes: list[str] = []
        has_failed = anyio.Event()

        async def wait() -> None:
            with pytest.raises(Rejected) as caught:
                await process.take(wait_in_seconds=60)
            codes.append(caught.value.code)
            has_failed.set()

        with anyio.fail_after(30):
            async with anyio.create_task_group() as takers:
                takers.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                assert await process.take() == []  # so the other take has found nothing before
                with put_away(path, another=False):
                    await has_failed.wait()
        assert codes == ["FileGone"]


async def test_a_put_into_a_file_that_another_program_has_locked_may_be_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_kind, "BUSY_TIMEOUT_IN_SECONDS", 0)
    process = Process(path)
    put = process.event()
    async with process.queue as queue:
        with locked(path), pytest.raises(Unreachable, match="database is locked") as caught:
            await queue.put([put])
        assert not caught.value.was_sent
        await queue.put([put])
        assert [taken.event for taken in await process.take()] == [put]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET rest = '[]' WHERE id < 3",
        "UPDATE event SET rest = '{' WHERE id < 3",
        "DELETE FROM payload WHERE id < 3",
    ],
)
async def test_events_in_damaged_rows_become_stuck_and_other_events_are_taken(path: Path, damage: str) -> None:
    process = Process(path)
    async with process.queue as queue:
        await queue.put([process.event(), process.event(), good := process.event()])
        with closing(sqlite3.connect(path)) as person, person:
            person.execute(damage)
        with anyio.fail_after(10):
            [taken] = await queue.take(RESIZE, count=1, wait_in_seconds=5.0)
        assert taken.event == good
        depth = await queue.depth(RESIZE)
        assert (depth.waiting, depth.in_flight, depth.stuck) == (0, 1, 2)
    now = process.clock.now()
    size = 0 if damage.startswith("DELETE") else 2
    stuck = [(event.stuck, event.size_in_bytes) for event in by_hand.listed(path, RESIZE, now=now).events[:2]]
    assert stuck == [("the event in row 1 cannot be read", size), ("the event in row 2 cannot be read", size)]
    assert by_hand.retry(path, RESIZE, None, now=now) == 2
    assert by_hand.drop(path, RESIZE, None, now=now) == 2


async def test_the_file_becomes_small_again_after_many_events(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WORTH_A_REBUILD_IN_BYTES", 500_000)
    process = Process(path)
    async with process.queue as queue:
        last = process.event()
        await queue.put([process.event(payload=b"1" * 10_000) for _ in range(100)])
        await queue.put([last])
        assert size_of(path) > 1_000_000
        while (taken := await process.take()) != []:
            for each in taken:
                if each.event != last:
                    await queue.remove(each)
        assert size_of(path) < 100_000
        process.clock.ahead += CLAIM_IN_SECONDS
        assert [each.event for each in await process.take()] == [last]


async def test_the_queue_returns_all_functions_that_have_events(path: Path) -> None:
    process = Process(path)
    async with process.queue as queue:
        assert await queue.functions() == frozenset()
        await queue.put([process.event(), process.event(), replace(process.event(), function=MAIL)])
        assert await queue.functions() == {RESIZE, MAIL}


async def test_a_put_that_a_fault_of_poller_stops_raises_an_error_and_stores_nothing(path: Path) -> None:
    process = Process(path)
    good, bad = process.event(), replace(process.event(), trace="\ud800")
    async with process.queue as queue:
        with pytest.raises(TypeError, match="UTF-8"):
            await queue.put([good, bad])
        assert await process.take() == []
        await queue.put([good])
        assert [taken.event for taken in await process.take()] == [good]


async def test_a_fault_of_poller_after_a_part_of_a_group_undoes_the_whole_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(path)
    one, other = process.event(), process.event()
    in_use, calls = jobs.in_use, iter([True, False])

    def broken(file: sqlite3.Connection) -> tuple[int, int]:
        if next(calls, False):
            raise ZeroDivisionError
        return in_use(file)

    async with process.queue as queue:
        monkeypatch.setattr(jobs, "in_use", broken)  # it is called after the events were inserted
        with pytest.raises(ZeroDivisionError):
            await queue.put([one])
        await queue.put([other])
        assert [taken.event for taken in await process.take()] == [other]


OLD_QUEUE, NEW_QUEUE = (Arn.parse(f"arn:aws:sqs:eu-west-1:123456789012:{name}") for name in ("old", "new"))


async def test_the_file_remembers_the_sqs_queues_of_functions_until_they_are_forgotten(path: Path) -> None:
    old, new = RememberedQueue(OLD_QUEUE, RESIZE), RememberedQueue(NEW_QUEUE, MAIL)
    async with Process(path).queue as queue:
        for each in (old, new, old):
            await queue.remember(each)
    async with Process(path).queue as queue:
        assert await queue.remembered() == [new, old]
        await queue.forget(old)
        assert await queue.remembered() == [new]


async def test_a_remembered_and_a_forgotten_sqs_queue_survive_a_loss_of_power(path: Path) -> None:
    process, old = Process(path), RememberedQueue(OLD_QUEUE, RESIZE)
    async with process.queue as queue:
        flushed: list[int] = []
        for change in (queue.remember, queue.forget):
            await process.take()  # this is not flushed
            await change(old)
            flushed += await queue._do(jobs.Look(size_in_bytes=None, work=how_the_last_commit_was_flushed))
    assert flushed == [2, 2]


def how_the_last_commit_was_flushed(file: sqlite3.Connection) -> tuple[int]:
    """Return the value of the pragma `synchronous`: 2 means that the commit was flushed to the disk."""
    found: tuple[int] = file.execute("PRAGMA synchronous").fetchone()
    return found


async def test_an_sqs_queue_has_the_events_of_the_function_that_used_it_last(path: Path) -> None:
    before, after = (RememberedQueue(OLD_QUEUE, function) for function in (RESIZE, MAIL))
    async with Process(path).queue as queue:
        await queue.remember(before)
        await queue.remember(after)
        await queue.forget(before)
        assert await queue.remembered() == [after]


async def test_a_damaged_row_of_an_sqs_queue_is_an_error_of_the_file(path: Path) -> None:
    async with Process(path).queue as queue:
        with closing(sqlite3.connect(path)) as file:
            file.execute("INSERT INTO sqs_queue VALUES ('no ARN', 'resize')")
            file.commit()
        with pytest.raises(Rejected, match="which is not an ARN"):
            await queue.remembered()
