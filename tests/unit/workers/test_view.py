"""What do the pages show of all workers?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from prometheus_client import generate_latest

from poller import facts
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.engine.stop import Stop
from poller.model.function_status import FunctionStatus
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SeenWorker, SharingStatus
from poller.model.status import BlockedShard, MappingState, MappingStatus, ReloadStatus, StreamStatus
from poller.model.stream import ShardId
from poller.telemetry.processes import SUMMED
from poller.telemetry.telemetry import Telemetry
from poller.workers.life import Life
from poller.workers.report import Report
from poller.workers.team import Team
from poller.workers.view import SILENT_AFTER_IN_SECONDS, View

pytestmark = pytest.mark.anyio

ORDERS = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 1, 0, 5, 8)
CPU = SUMMED[0]
STARTED_AT = 1_800_000_000.0


class AnsweringLife(Life):
    """A process that answers each question at once, with the same report but for the number."""

    def ask(self) -> int:
        question = super().ask()
        if self.report is not None:
            self.report = self.report._replace(answers=question)
        return question


class Shown:
    """A team of which no process runs, what the parent itself has counted, and the view of both."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.time = STARTED_AT
        self.own = Telemetry()
        self.team = Team(
            2,
            command=[],
            folder=Path(),
            api_listeners=[],
            stop=self.stop,
            get_grace_in_seconds=lambda: 0.0,
            emit=self.own.emit,
            now=lambda: STARTED_AT,
        )
        self.view = View(self.team, own_numbers=self.own.numbers, now=lambda: self.time)

    def report(
        self,
        number: int,
        *,
        polled: int = 0,
        state: MappingState = "ready",
        cpu: float = 0.0,
        sharing: SharingStatus | None = None,
    ) -> None:
        """Let a worker report that it has polled this many messages since it was started."""
        telemetry = Telemetry()
        telemetry.begin_mapping(ORDERS.mapping, ORDERS.function, is_stream=False)
        telemetry.emit(facts.MessagesReceived(ORDERS.mapping, polled))
        life = self.team.workers[number - 1].life
        if life.report is None:
            life = self.team.workers[number - 1].life = AnsweringLife()
            life.pid = 4710 + number
            life.started.set()
        life.reported_at = anyio.current_time()
        life.report = Report(0, [ORDERS._replace(state=state)], telemetry.numbers(), {CPU: cpu}, sharing=sharing)

    def end(self, number: int) -> None:
        worker = self.team.workers[number - 1]
        worker.life.over.set()
        self.team.on_end(worker)

    async def metric(self, name: str) -> str | None:
        """Return the value that /metrics shows, rendered in a thread as by the server."""
        registry = self.view.registry(lambda: ReloadStatus(was_successful=True, succeeded_at=9.0))
        text = (await to_thread.run_sync(generate_latest, registry)).decode()
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#").get(name)

    def states(self) -> Sequence[tuple[str, str | None]]:
        return [(worker.state, worker.reason) for worker in self.view.workers()]


POLLED = 'poller_records_polled_total{mapping="orders"}'


async def test_one_status_is_shown_for_all_workers() -> None:
    shown = Shown()
    assert shown.view.statuses() == []
    shown.report(1)
    shown.report(2, state="troubled")
    (status,) = shown.view.statuses()
    assert (status.state, status.messages_held) == ("troubled", 10)
    assert await shown.metric('poller_records_held{mapping="orders"}') == "10.0"
    assert await shown.metric('poller_mapping_ready{mapping="orders"}') == "0.0"
    assert await shown.metric("poller_config_last_reload_success_timestamp_seconds") == "9.0"


async def test_the_leases_of_all_workers_are_counted_together() -> None:
    shown = Shown()
    shown.report(1)
    assert await shown.metric("poller_workers") is None
    workers = tuple(SeenWorker(Owner(f"{name}/1"), 4, 0.0, is_stopping=False) for name in "ab")
    shown.report(1, sharing=SharingStatus(workers[0].owner, 4, 0, workers, 0.5, 1.5, 0.0))
    shown.report(2, sharing=SharingStatus(workers[1].owner, 3, 0, workers, 0.5, 1.5, 7.5))
    assert await shown.metric("poller_workers") == "2.0"
    assert await shown.metric('poller_leases{kind="shard"}') == "7.0"
    assert await shown.metric("poller_shard_unread_seconds") == "7.5"


async def test_the_shards_of_a_silent_worker_are_shown_only_until_another_worker_may_have_them() -> None:
    shown, workers = Shown(), (SeenWorker(Owner("a/1"), 1, 0.0, is_stopping=False),)
    blocked = BlockedShard(ShardId("shard"), reason="E", detail="", records=1, since=5.0, attempt=1)
    stream = StreamStatus(9.0, 9.0, shards_reading=1, shards_waiting=2, shards_drained=3, blocked=(blocked,))
    for number in (1, 2):
        shown.report(number, sharing=SharingStatus(Owner("a/1"), 1, 0, workers, 0.5, 1.5, 0.0))
        life = shown.team.workers[number - 1].life
        assert life.report is not None
        life.report = life.report._replace(statuses=[ORDERS._replace(stream=stream)])
    (status,), sharing = shown.view.statuses(), shown.view.sharing()
    assert status.stream is not None
    assert sharing is not None
    assert (status.stream.blocked, sharing.shards) == ((blocked, blocked), 2)
    shown.team.workers[0].life.reported_at -= LEASE_DURATION_IN_SECONDS
    (status,), sharing = shown.view.statuses(), shown.view.sharing()
    assert sharing is not None
    assert (status.stream, sharing.shards) == (stream, 1)
    assert status.messages_held == 10
    shown.team.workers[1].life.reported_at -= LEASE_DURATION_IN_SECONDS
    (status,) = shown.view.statuses()
    assert status.stream == StreamStatus(shards_waiting=2, shards_drained=3)
    assert shown.view.sharing() is None


async def test_one_status_of_each_function_is_shown_for_all_workers() -> None:
    shown = Shown()
    assert shown.view.functions() == []
    for number in (1, 2):
        shown.report(number)
        report = shown.team.workers[number - 1].life.report
        assert report is not None
        store = FunctionStatus(ORDERS.function, running=number, waiting=0, limit=4)
        shown.team.workers[number - 1].life.report = report._replace(functions=(store,))
    assert shown.view.functions() == [FunctionStatus(ORDERS.function, running=3, waiting=0, limit=8)]


async def test_the_counts_of_a_worker_stay_when_it_ends_and_begins_again() -> None:
    shown = Shown()
    shown.report(1, polled=3)
    shown.report(2, polled=4)
    assert await shown.metric(POLLED) == "7.0"
    shown.report(1, polled=5)  # nobody looked at this report before the end
    shown.end(1)
    assert await shown.metric(POLLED) == "9.0"
    shown.team.workers[0].life = Life()
    assert await shown.metric(POLLED) == "9.0"
    shown.report(1, polled=1)
    assert await shown.metric(POLLED) == "10.0"
    assert [status.messages_held for status in shown.view.statuses()] == [10]


async def test_the_parent_counts_too() -> None:
    shown = Shown()
    shown.report(1)
    shown.own.emit(facts.WorkerEnded(worker=2, pid=7, exit_status=-9, restart_in_seconds=1.0))
    shown.own.emit(facts.WorkerEnded(worker=2, pid=7, exit_status=2))
    assert await shown.metric("poller_worker_restarts_total") == "1.0"


async def test_the_cpu_time_of_all_processes_is_shown_also_of_those_that_have_ended() -> None:
    shown = Shown()
    shown.report(1, cpu=1e6)
    shown.report(2, cpu=1e6)
    shown.end(2)
    shown.team.workers[1].life = Life()
    shown.report(2, cpu=1e5)
    assert float(await shown.metric(CPU) or 0) == pytest.approx(2.1e6, rel=0.01)


async def test_the_state_of_each_worker_is_shown() -> None:
    shown = Shown()
    not_started = ("starting", "its process has not started yet")
    assert shown.states() == [not_started, not_started]
    shown.report(1)
    shown.report(2, state="starting")
    assert shown.states() == [("ready", None), ("starting", "not ready: orders")]
    shown.team.workers[0].life.reported_at -= SILENT_AFTER_IN_SECONDS + 1
    assert shown.states()[0] == ("silent", "it has not reported for 6 s")
    shown.end(1)
    assert shown.states()[0] == ("ended", "its process has ended, and is started again soon")
    shown.stop.begin()
    assert shown.states() == [("stopping", None)] * 2


async def test_a_worker_without_a_process_has_its_state_since_the_daemon_was_started() -> None:
    assert [worker.since for worker in Shown().view.workers()] == [STARTED_AT] * 2


async def test_a_state_of_a_worker_is_shown_with_the_time_since_when_it_lasts() -> None:
    shown = Shown()

    def after(seconds: float) -> tuple[str, Any]:
        """Return the first worker's state after these seconds, and how long after the start the state began."""
        shown.time += seconds
        worker, _ = shown.view.workers()
        return worker.state, pytest.approx(worker.since - STARTED_AT, abs=20)

    assert after(100) == ("starting", 0)
    shown.report(1, state="starting")
    assert after(100) == ("starting", 0)
    shown.report(1)
    assert after(100) == ("ready", 300)
    assert after(100) == ("ready", 300)
    shown.team.workers[0].life.reported_at -= 100
    assert after(200) == ("silent", 500), "since its last report"
    shown.team.workers[0].life.reported_at -= 100
    assert after(100) == ("silent", 500)
    shown.report(1)
    assert after(100) == ("ready", 800)
    shown.end(1)
    assert after(100) == ("ended", 900)
    shown.team.workers[0].life = Life()
    shown.report(1)
    assert after(100) == ("ready", 1000)
    shown.team.workers[0].since = STARTED_AT + 1050  # it ended and was started again between two looks
    assert after(100) == ("ready", 1050)
    shown.stop.begin()
    assert after(100) == ("stopping", 1200)
    assert after(100) == ("stopping", 1200)


async def test_the_view_looks_at_the_workers_also_if_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.workers.view.SECONDS_BETWEEN_LOOKS", 0.01)
    shown = Shown()
    has_looked = anyio.Event()

    def now() -> float:
        has_looked.set()
        return STARTED_AT + 10

    view = View(shown.team, own_numbers=shown.own.numbers, now=now)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(view.run)
        await anyio.wait_all_tasks_blocked()
        shown.report(1)
        with anyio.fail_after(30):
            await has_looked.wait()
        tasks.cancel_scope.cancel()


async def test_the_reason_names_only_a_few_of_many_mappings() -> None:
    shown = Shown()
    shown.report(1)
    life = shown.team.workers[0].life
    assert life.report is not None
    many = [ORDERS._replace(mapping=MappingName(f"m{n}"), state="starting") for n in range(1000)]
    life.report = life.report._replace(statuses=many)
    assert shown.states()[0] == ("starting", "not ready: m0, m1, m2, m3, m4 and 995 more")


async def test_a_page_waits_for_the_present_reports_of_all_workers_that_run() -> None:
    shown = Shown()
    shown.report(1)
    shown.report(2)
    shown.end(2)
    await shown.view.refresh()
    answers = [worker.life.report.answers for worker in shown.team.workers if worker.life.report]
    assert answers == [1, 0]


async def test_a_page_does_not_wait_long_for_a_worker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.workers.view.LONGEST_WAIT_IN_SECONDS", 0.05)
    shown = Shown()
    shown.report(1)
    worker = shown.team.workers[0]
    silent = Life()
    silent.report, silent.pid = worker.life.report, 1
    silent.started.set()
    worker.life = silent
    with anyio.fail_after(30):
        await shown.view.refresh()
