"""Which workers run, and when is one started again? Small programs stand for the workers here."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from poller.engine.stop import Stop
from poller.facts import Fact, WorkerEnded, WorkerStarted
from poller.workers.life import Life
from poller.workers.membership import Membership
from poller.workers.team import Team, Worker

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROGRAM = """
import json, os, signal, socket, struct, sys, time
member = json.loads(sys.argv[-1])
lives = os.path.join(member["folder"], "lives-%d" % member["number"])
with open(lives, "ab") as file:
    life = file.tell()
    file.write(b".")
plan = json.loads(sys.argv[1]).get(str(member["number"]), [])
acts = plan[life] if life < len(plan) else []
channel = socket.socket(fileno=member["channel"])
reader = channel.makefile("rb")
told = 0

def report(answers):
    owner = "worker-%d/%d" % (member["number"], life)
    body = json.dumps([answers, [], [], {"life": life, "told": told}, owner]).encode()
    channel.sendall(struct.pack(">I", len(body)) + body)

for act in acts:
    if act == "print":
        print("worker", member["number"], file=sys.stderr, flush=True)
    elif act == "read":
        print(len(sys.stdin.read()), "bytes", file=sys.stderr, flush=True)
    elif act == "wait":
        while True:
            signal.pause()
    elif act == "no signal":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif act == "sleep":
        time.sleep(0.6)
    elif act == "report":
        report(0)
    elif act not in ("deaf", "slow"):
        sys.exit(act)
if "report" not in acts:
    report(0)
while True:
    (length,) = struct.unpack(">I", reader.read(4))
    word = reader.read(length).decode()
    if word == "died worker-2/0":
        told += 1
    if word.startswith("report"):
        report(int(word.split()[1]))
    elif word == "hurry" and "deaf" not in acts:
        sys.exit(3)
    elif word == "stop" and not {"deaf", "slow"} & set(acts):
        sys.exit(0)
"""
"""A worker that does what its plan says in this life, and then obeys its parent. If it is hurried, it exits with 3."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Log(io.BytesIO):
    """Rings at each line."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__()
        self._ring = ring

    def write(self, lines: Any, /) -> int:
        self._ring()
        return super().write(lines)


class Parent:
    """A team, what it has emitted, and its exit code after its end."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._changed = anyio.Event()
        self.stop = Stop()
        self.facts: list[Fact] = []
        self.log = Log(self._change)
        self.code: int | None = None
        self.grace_in_seconds = 60.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.team = Team(
            3,
            command=command,
            folder=folder,
            api_listeners=[self.listener],
            stop=self.stop,
            get_grace_in_seconds=lambda: self.grace_in_seconds,
            emit=self._emit,
            log=self.log,
        )

    @property
    def started(self) -> list[int]:
        return [fact.worker for fact in self.facts if isinstance(fact, WorkerStarted)]

    @property
    def ended(self) -> list[tuple[int, int | None, bool]]:
        """The number of each worker that has ended, its exit status, and whether it is started again."""
        return [
            (fact.worker, fact.exit_status, fact.restart_in_seconds is not None)
            for fact in self.facts
            if isinstance(fact, WorkerEnded)
        ]

    @property
    def details(self) -> list[tuple[int, str]]:
        return [(fact.worker, fact.detail) for fact in self.facts if isinstance(fact, WorkerEnded)]

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(30):
            while not condition():
                await self._changed.wait()

    async def until_started(self, count: int = 3) -> None:
        await self.until(lambda: len(self.started) >= count)

    def worker(self, number: int) -> Worker:
        return self.team.workers[number - 1]

    async def run(self) -> None:
        with self.listener:
            self.code = await self.team.run()
        self._change()

    def _emit(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def parent(folder: Path, plan: Mapping[str, Sequence[Sequence[Any]]] | None = None) -> AsyncIterator[Parent]:
    """Run a team whose workers follow the plan: what each worker does in each of its lives."""
    found = Parent(folder, [sys.executable, "-c", PROGRAM, json.dumps(plan or {})])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.run)
        yield found
        tasks.cancel_scope.cancel()


async def code_of(parent: Parent) -> int | None:
    """Wait for the end of the team, and return its exit code."""
    await parent.until(lambda: parent.code is not None)
    return parent.code


async def test_the_first_worker_starts_alone_and_the_stop_reaches_all(tmp_path: Path) -> None:
    async with parent(tmp_path) as daemon:
        await daemon.until_started(1)
        assert daemon.worker(2).life.pid is None, "it has not been started yet"
        await daemon.until_started()
        assert daemon.started[0] == 1
        assert sorted(daemon.started) == [1, 2, 3]
        assert [worker.number for worker in daemon.team.at_work] == [1, 2, 3]
        for worker in daemon.team.workers:
            assert worker.life.pid is not None
            assert os.getsid(worker.life.pid) == worker.life.pid, "Ctrl-C in a terminal reaches only the parent"
        daemon.stop.begin()
        assert await code_of(daemon) == 0
        assert daemon.team.at_work == []
        assert daemon.ended == []


async def test_a_worker_that_cannot_start_ends_the_whole_with_its_exit_code(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["print", 2]]}) as daemon:
        assert await code_of(daemon) == 2
        assert daemon.ended == [(1, 2, False)]
        assert daemon.log.getvalue() == b"worker 1\n"
        assert not (tmp_path / "lives-2").exists(), "no other worker was started"


async def test_a_later_worker_that_cannot_start_stops_the_others(tmp_path: Path) -> None:
    async with parent(tmp_path, {"3": [[1]]}) as daemon:
        assert await code_of(daemon) == 1
        assert daemon.ended == [(3, 1, False)]


async def test_a_program_that_does_not_exist_ends_the_whole(tmp_path: Path) -> None:
    daemon = Parent(tmp_path, [str(tmp_path / "missing")])
    await daemon.run()
    assert daemon.code == 1
    assert daemon.ended == [(1, None, False)]
    (fact,) = daemon.facts
    assert isinstance(fact, WorkerEnded)
    assert fact.detail == "No such file or directory"


async def test_a_worker_that_dies_is_started_again_and_the_others_stay(tmp_path: Path) -> None:
    async with parent(tmp_path) as daemon:
        ended: list[tuple[int, Any]] = []
        daemon.team.on_end = lambda worker: ended.append((worker.number, worker.life.report))
        await daemon.until_started()
        before = [worker.life.pid for worker in daemon.team.workers]
        assert before[1] is not None
        os.kill(before[1], signal.SIGKILL)
        await daemon.until_started(4)
        assert daemon.ended == [(2, -9, True)]
        after = [worker.life.pid for worker in daemon.team.workers]
        assert (after[0], after[2]) == (before[0], before[2])
        assert after[1] != before[1]
        assert [worker.restarts for worker in daemon.team.workers] == [0, 1, 0]
        now = daemon.worker(2).life.report
        assert now is not None
        assert now.usage["life"] == 1
        ((number, report),) = ended
        assert number == 2
        assert report.usage["life"] == 0
        survivor = daemon.worker(1).life
        with anyio.fail_after(30):
            while survivor.report is None or survivor.report.usage["told"] < 2:
                await survivor.until_answered(survivor.ask())
        daemon.stop.begin()
        assert await code_of(daemon) == 0


async def test_a_worker_that_was_stopped_alone_is_started_again_at_once(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["report", 0], ["report", 0]]}) as daemon:
        await daemon.until_started(5)
        found = [fact for fact in daemon.facts if isinstance(fact, WorkerEnded)]
        assert [(fact.exit_status, fact.restart_in_seconds) for fact in found] == [(0, 0.0), (0, 0.0)]


async def test_the_pause_before_a_restart_grows_with_each_failure(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["report", 9], ["report", 9], ["report", 9]]}) as daemon:
        await daemon.until(lambda: len(daemon.ended) == 3)
        pauses = [fact.restart_in_seconds or 0.0 for fact in daemon.facts if isinstance(fact, WorkerEnded)]
        assert all(shortest <= pause <= 2 * shortest for pause, shortest in zip(pauses, (0.25, 0.5, 1), strict=True))


async def test_a_worker_that_has_started_once_may_fail_to_start_later(tmp_path: Path) -> None:
    async with parent(tmp_path, {"2": [["report", 9], [2]]}) as daemon:
        await daemon.until_started(4)
        assert daemon.ended == [(2, 9, True), (2, 2, True)]


async def test_a_worker_that_was_killed_before_it_started_is_started_again(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["print", "wait"]]}) as daemon:
        await daemon.until(lambda: daemon.log.getvalue() != b"")
        daemon.worker(1).life.kill("a test ends it")
        await daemon.until_started()
        assert daemon.ended == [(1, -9, True)]


async def test_a_worker_that_has_not_started_yet_ends_at_the_stop(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["print", "wait"]]}) as daemon:
        await daemon.until(lambda: daemon.log.getvalue() != b"")
        daemon.stop.begin()
        assert await code_of(daemon) == 0
        assert daemon.ended == [], "the parent asked it to end"


async def test_a_second_signal_hurries_all_and_the_exit_code_is_the_worst_one(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["report", "slow"]]}) as daemon:
        await daemon.until_started()
        assert daemon.listener.fileno() != -1
        daemon.stop.begin()
        with anyio.fail_after(30):
            for number in (2, 3):
                await daemon.worker(number).life.over.wait()
        assert not daemon.worker(1).life.over.is_set()
        assert daemon.listener.fileno() == -1, "no client may connect and wait for an answer that never comes"
        daemon.stop.hurry()
        assert await code_of(daemon) == 3


async def test_a_worker_that_does_not_stop_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.workers.team.MARGIN_IN_SECONDS", 0.1)
    async with parent(tmp_path, {"2": [["report", "deaf"]]}) as daemon:
        await daemon.until_started()
        daemon.grace_in_seconds = 0.1
        daemon.stop.begin()
        assert await code_of(daemon) == 1
        assert daemon.ended == [(2, -9, False)]
        assert daemon.details == [(2, "the parent killed it: it did not end within 0.1 s after the end of the grace")]


async def test_a_worker_that_hangs_at_its_start_is_named_when_the_stop_kills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.team.MARGIN_IN_SECONDS", 0.1)
    async with parent(tmp_path, {"1": [["no signal", "print", "wait"]]}) as daemon:
        await daemon.until(lambda: daemon.log.getvalue() != b"")
        daemon.grace_in_seconds = 0.1
        daemon.stop.begin()
        assert await code_of(daemon) == 0
        assert daemon.details == [(1, "the parent killed it: it did not end within 0.1 s after the end of the grace")]


async def test_a_worker_that_somebody_else_kills_during_the_stop_is_named(tmp_path: Path) -> None:
    async with parent(tmp_path, {"2": [["report", "slow"]]}) as daemon:
        await daemon.until_started()
        daemon.stop.begin()
        with anyio.fail_after(30):
            await daemon.worker(1).life.over.wait()
        pid = daemon.worker(2).life.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await code_of(daemon) == 1
        assert daemon.ended == [(2, -9, False)]
        assert daemon.details == [(2, "")]


async def test_a_silent_worker_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.workers.life.LONGEST_SILENCE_IN_SECONDS", 0.2)
    monkeypatch.setattr("poller.workers.life.SECOND_LOOK_IN_SECONDS", 0.2)
    async with parent(tmp_path, {"1": [["report", "wait"]]}) as daemon:
        await daemon.until(lambda: (1, -9, True) in daemon.ended)
        assert daemon.details[0] == (1, "the parent killed it: it did not report for 0.4 s")


async def test_a_worker_gets_some_more_time_because_the_parent_itself_may_have_been_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.workers.life.LONGEST_SILENCE_IN_SECONDS", 0.2)
    async with parent(tmp_path, {"1": [["report", "sleep"]]}) as daemon:
        await daemon.until_started()
        life = daemon.worker(1).life
        with anyio.fail_after(30):
            await life.until_answered(life.ask())
        assert daemon.ended == []


async def test_a_process_that_is_told_to_stop_before_it_begins_stops(tmp_path: Path) -> None:
    life = Life()
    life.stop()
    member = partial(Membership, number=1, of=1, folder=str(tmp_path))
    with anyio.fail_after(30):
        status = await life.run(
            [sys.executable, "-c", PROGRAM, "{}"], lambda channel: member(channel=channel), b"", [], io.BytesIO()
        )
    assert status in (0, -signal.SIGTERM)


def test_the_first_reason_of_a_kill_is_kept_because_a_process_may_outlive_a_signal_for_long() -> None:
    life = Life()
    life.kill("it did not report")
    life.kill("it did not end")
    assert life.killed_because == "it did not report"


async def test_each_process_gets_the_settings_that_are_in_use_when_it_starts(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["read"], ["read"]]}) as daemon:
        daemon.team.use(b"x" * 3)
        await daemon.until_started()
        daemon.team.use(b"x" * 3_000_000)
        assert daemon.log.getvalue() == b"3 bytes\n"
        daemon.worker(1).life.kill("the test kills it")
        await daemon.until_started(4)
        assert daemon.log.getvalue() == b"3 bytes\n3000000 bytes\n"
        assert [worker.settings_number for worker in daemon.team.workers] == [2, 1, 1]


async def test_a_process_that_ends_before_it_has_read_its_settings_ends_with_its_own_exit_code(tmp_path: Path) -> None:
    daemon = Parent(tmp_path, [sys.executable, "-c", PROGRAM, json.dumps({"1": [[2]]})])
    daemon.team.use(b"x" * 3_000_000)
    with anyio.fail_after(30):
        await daemon.run()
    assert (daemon.code, daemon.ended) == (2, [(1, 2, False)])


async def test_a_worker_answers_each_question_with_a_newer_report(tmp_path: Path) -> None:
    async with parent(tmp_path) as daemon:
        await daemon.until_started()
        life = daemon.worker(1).life
        with anyio.fail_after(30):
            for expected in (1, 2):
                await life.until_answered(life.ask())
                assert life.report is not None
                assert life.report.answers == expected


async def test_nobody_waits_for_the_answer_of_a_worker_that_has_ended(tmp_path: Path) -> None:
    async with parent(tmp_path, {"1": [["report", "wait"]]}) as daemon:
        await daemon.until_started()
        life = daemon.worker(1).life
        question = life.ask()
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(30):
                tasks.start_soon(life.until_answered, question)
                await anyio.wait_all_tasks_blocked()
                life.kill("a test ends it")
