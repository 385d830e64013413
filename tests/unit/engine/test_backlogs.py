"""How much work waits for the workers? The questions of an autoscaler, on a virtual clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.backlog import Known
from poller.engine.backlogs import (
    CALLS_AT_ONCE,
    CALLS_OF_A_LOOK,
    KEPT_IN_SECONDS,
    LONGEST_LOOK_IN_SECONDS,
    NO_ANSWER,
    NOT_ASKED,
    Backlogs,
)
from poller.errors import AccessDenied
from poller.model.arn import Arn
from poller.model.backlog import Backlog, QueueDepth, UnknownBacklog
from poller.model.function import Function, HttpService
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import AnyMapping, EventMapping, QueueMapping, StreamMapping
from poller.model.status import EventsStatus, MappingState, MappingStatus, StreamStatus
from poller.model.stream import TrimHorizon

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def queue(name: str, *, queue_name: str = "", function: str = "store") -> QueueMapping:
    return QueueMapping(
        name=MappingName(name),
        event_source_arn=Arn.parse(f"arn:aws:sqs:eu-west-1:123456789012:{queue_name or name}"),
        function_name=FunctionName(function),
        region="eu-west-1",
        uuid=name,
    )


def stream(name: str, *, function: str = "store", window: int = 0) -> StreamMapping:
    return StreamMapping(
        name=MappingName(name),
        event_source_arn=Arn.parse(f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}"),
        function_name=FunctionName(function),
        starting_position=TrimHorizon(),
        maximum_batching_window_in_seconds=window,
        region="eu-west-1",
        uuid=name,
    )


def events(function: str) -> EventMapping:
    return EventMapping.of(
        Function(
            name=FunctionName(function),
            arn=Arn.parse(f"arn:aws:lambda:eu-west-1:123456789012:function:{function}"),
            kind=HttpService(urls=("http://function.fake",)),
            timeout_in_seconds=10,
            reserved_concurrency=1,
        )
    )


class Daemon:
    """Mappings with their statuses, and queues with their messages. `asked` counts the calls of each queue."""

    def __init__(self, *mappings: AnyMapping) -> None:
        self.there = list(mappings)
        self.states: dict[str, MappingState] = {}
        self.streams: dict[str, StreamStatus] = {}
        self.events: dict[str, EventsStatus] = {}
        self.messages: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.asked_at_once = self.most_at_once = 0
        self.error: AccessDenied | None = None
        self.seconds_of_a_call = 0.25
        self.hanging: set[str] = set()
        self.backlogs = Backlogs(self, ask=self._ask)

    def mappings(self) -> Sequence[AnyMapping]:
        return self.there

    def status(self, name: MappingName) -> MappingStatus:
        (mapping,) = [each for each in self.there if each.name == name]
        is_stream = isinstance(mapping, StreamMapping)
        shown = self.streams.get(name, StreamStatus()) if is_stream else None
        state = self.states.get(name, "ready")
        status = MappingStatus(name, mapping.function_name, "arn", state, None, 0, 0, 0, 1, stream=shown)
        return status._replace(events=self.events.get(name)) if isinstance(mapping, EventMapping) else status

    async def _ask(self, mapping: QueueMapping) -> QueueDepth:
        name = mapping.event_source_arn.resource
        self.asked[name] += 1
        self.asked_at_once += 1
        self.most_at_once = max(self.most_at_once, self.asked_at_once)
        await anyio.sleep(3600 if name in self.hanging else self.seconds_of_a_call)
        self.asked_at_once -= 1
        if self.error is not None:
            raise self.error
        return QueueDepth(visible=self.messages[name], in_flight=7, delayed=8)


async def test_a_queue_tells_how_many_messages_wait() -> None:
    daemon = Daemon(queue("orders"))
    daemon.messages["orders"] = 120
    assert await daemon.backlogs.of_mapping("orders") == Backlog(messages_waiting=120)


async def test_a_stream_needs_the_time_for_its_oldest_record_that_is_not_blocked() -> None:
    daemon = Daemon(stream("clicks"))
    daemon.streams["clicks"] = StreamStatus(iterator_age_in_seconds=3600, unblocked_age_in_seconds=40, shards_reading=6)
    assert await daemon.backlogs.of_mapping("clicks") == Backlog(seconds_to_catch_up=40, shards=6)


async def test_a_stream_that_falls_back_needs_longer_than_the_age_of_its_records() -> None:
    daemon = Daemon(stream("clicks"))
    for age in (0, 30, 60, 90):
        daemon.streams["clicks"] = StreamStatus(unblocked_age_in_seconds=age)
        backlog = await daemon.backlogs.of_mapping("clicks")
        await anyio.sleep(30)
    assert isinstance(backlog, Backlog)
    assert backlog.seconds_to_catch_up > 2 * 90


async def test_records_that_wait_for_their_batch_are_no_backlog() -> None:
    daemon = Daemon(stream("clicks", window=300))
    daemon.streams["clicks"] = StreamStatus(unblocked_age_in_seconds=290)
    assert await daemon.backlogs.of_mapping("clicks") == Backlog()
    daemon.streams["clicks"] = StreamStatus(unblocked_age_in_seconds=310)
    assert await daemon.backlogs.of_mapping("clicks") == Backlog(seconds_to_catch_up=10)


async def test_the_backlog_of_a_function_is_that_of_its_mappings_and_the_daemon_has_all() -> None:
    daemon = Daemon(queue("orders"), queue("bills"), stream("clicks"), queue("mails", function="send"))
    daemon.messages.update(orders=1, bills=2, mails=4)
    daemon.streams["clicks"] = StreamStatus(unblocked_age_in_seconds=7, shards_reading=3)
    assert await daemon.backlogs.of_function("store") == Backlog(7, 3, 3)
    assert await daemon.backlogs.of_function("send") == Backlog(0, 0, 4)
    assert await daemon.backlogs.of_daemon() == Backlog(7, 3, 7)


async def test_the_events_of_a_function_that_wait_are_work_of_the_function_and_of_the_daemon() -> None:
    daemon = Daemon(queue("orders"), events("store"), events("send"))
    daemon.events |= {"store:events": EventsStatus(waiting=30, in_flight=4, stuck=2)}
    daemon.events |= {"send:events": EventsStatus(waiting=5)}
    assert await daemon.backlogs.of_function("store") == Backlog(events_waiting=30)
    assert await daemon.backlogs.of_function("send") == Backlog(events_waiting=5), "it has no mapping"
    assert await daemon.backlogs.of_daemon() == Backlog(events_waiting=35)
    assert await daemon.backlogs.of_mapping("orders") == Backlog()
    assert await daemon.backlogs.of_mapping("store:events") is None


async def test_events_that_cannot_be_worked_off_make_the_backlog_unknown_unless_there_were_none() -> None:
    daemon = Daemon(queue("orders"), events("store"))
    daemon.states["store:events"] = "waiting"
    daemon.events["store:events"] = EventsStatus()
    assert await daemon.backlogs.of_function("store") == UnknownBacklog("the events of store are waiting")
    daemon.events["store:events"] = EventsStatus(is_in_use=False)
    assert await daemon.backlogs.of_function("store") == Backlog()


async def test_the_messages_of_a_queue_with_two_mappings_count_once() -> None:
    daemon = Daemon(queue("orders", queue_name="q"), queue("copies", queue_name="q"))
    daemon.messages["q"] = 5
    assert await daemon.backlogs.of_daemon() == Backlog(messages_waiting=5)


async def test_names_that_no_mapping_has_are_unknown() -> None:
    daemon = Daemon(queue("orders"))
    assert await daemon.backlogs.of_mapping("clicks") is None
    assert await daemon.backlogs.of_function("orders") is None
    assert await Daemon().backlogs.of_daemon() == Backlog()


async def test_a_paused_mapping_has_no_work_and_its_queue_is_not_asked() -> None:
    daemon = Daemon(queue("orders"))
    daemon.messages["orders"], daemon.states["orders"] = 120, "paused"
    assert await daemon.backlogs.of_mapping("orders") == Backlog()
    assert not daemon.asked


async def test_a_mapping_in_trouble_makes_only_the_backlogs_with_it_unknown() -> None:
    daemon = Daemon(queue("orders"), queue("mails", function="send"))
    daemon.states["orders"] = "troubled"
    unknown = UnknownBacklog("mapping orders is troubled")
    assert await daemon.backlogs.of_mapping("orders") == unknown
    assert await daemon.backlogs.of_daemon() == unknown
    assert await daemon.backlogs.of_function("send") == Backlog()


async def test_a_queue_that_does_not_answer_makes_the_backlog_unknown_and_never_zero() -> None:
    daemon = Daemon(queue("orders"), queue("bills"))
    daemon.error = AccessDenied("not authorized to perform: sqs:getqueueattributes", code="AccessDenied")
    backlog = await daemon.backlogs.of_daemon()
    assert isinstance(backlog, UnknownBacklog)
    assert backlog.reason.endswith("GetQueueAttributes: not authorized to perform: sqs:getqueueattributes")


@pytest.mark.parametrize("fails", [False, True])
async def test_many_questions_cost_one_call_until_the_answer_is_old(fails: bool) -> None:
    daemon = Daemon(queue("orders"))
    daemon.error = AccessDenied("no", code="AccessDenied") if fails else None
    answers: list[Known | None] = []

    async def ask() -> None:
        answers.append(await daemon.backlogs.of_mapping("orders"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(ask)
    assert len(answers) == 20
    assert daemon.asked["orders"] == 1
    await anyio.sleep(KEPT_IN_SECONDS)
    await ask()
    assert daemon.asked["orders"] == 2


async def test_the_queues_of_a_daemon_are_asked_together_but_not_all_at_once() -> None:
    daemon = Daemon(*(queue(f"q{number}") for number in range(3 * CALLS_AT_ONCE)))
    began = anyio.current_time()
    await daemon.backlogs.of_daemon()
    assert anyio.current_time() - began == pytest.approx(3 * 0.25)
    assert daemon.most_at_once == CALLS_AT_ONCE


async def test_a_removed_mapping_is_forgotten() -> None:
    daemon = Daemon(stream("clicks"), queue("orders"))
    daemon.messages["orders"] = 5
    daemon.streams["clicks"] = StreamStatus(unblocked_age_in_seconds=0)
    await daemon.backlogs.of_daemon()
    there, daemon.there = daemon.there, []
    await daemon.backlogs.of_daemon()
    daemon.there = there
    await anyio.sleep(1)
    assert await daemon.backlogs.of_daemon() == Backlog(messages_waiting=5)
    assert daemon.asked["orders"] == 2, "a mapping that is added again begins anew"


async def test_a_person_sees_the_messages_of_each_queue_even_of_a_paused_mapping() -> None:
    daemon = Daemon(queue("orders"), queue("bills"), stream("clicks"))
    daemon.messages.update(orders=120, bills=3)
    daemon.states["bills"] = "paused"
    assert await daemon.backlogs.depths() == {"orders": QueueDepth(120, 7, 8), "bills": QueueDepth(3, 7, 8)}


async def test_the_queue_of_a_disabled_mapping_is_not_asked() -> None:
    daemon = Daemon(replace(queue("orders"), is_enabled=False))
    assert await daemon.backlogs.depths() == {}
    assert not daemon.asked


async def test_a_person_sees_why_the_messages_of_a_queue_are_unknown() -> None:
    daemon = Daemon(queue("orders"))
    daemon.error = AccessDenied("not authorized to perform: sqs:getqueueattributes", code="AccessDenied")
    reason = "GetQueueAttributes: not authorized to perform: sqs:getqueueattributes"
    assert await daemon.backlogs.depths() == {"orders": UnknownBacklog(reason)}


async def test_an_autoscaler_and_a_person_share_the_answer_of_a_queue() -> None:
    daemon = Daemon(queue("orders"))
    await daemon.backlogs.of_daemon()
    await daemon.backlogs.depths()
    assert daemon.asked["orders"] == 1


async def test_a_look_waits_a_second_at_most_and_the_next_one_asks_other_queues_first() -> None:
    first, last = MappingName("q0"), MappingName(f"q{CALLS_AT_ONCE}")
    daemon = Daemon(*(queue(f"q{number}") for number in range(CALLS_AT_ONCE + 1)))
    daemon.hanging = {f"q{number}" for number in range(CALLS_AT_ONCE)}
    began = anyio.current_time()
    depths = await daemon.backlogs.depths()
    assert anyio.current_time() - began == pytest.approx(LONGEST_LOOK_IN_SECONDS)
    assert (depths[first], depths[last]) == (NO_ANSWER, NOT_ASKED)
    depths = await daemon.backlogs.depths()
    assert (depths[first], depths[last]) == (NO_ANSWER, QueueDepth(0, 7, 8))


async def test_a_look_says_that_a_queue_does_not_answer_while_an_autoscaler_still_waits_for_it() -> None:
    daemon = Daemon(queue("orders"))
    daemon.hanging = {"orders"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(daemon.backlogs.of_daemon)
        await anyio.wait_all_tasks_blocked()
        assert await daemon.backlogs.depths() == {"orders": NO_ANSWER}
        tasks.cancel_scope.cancel()


async def test_looks_at_many_queues_ask_some_of_them_each_time_until_all_are_known() -> None:
    daemon = Daemon(*(queue(f"q{number}") for number in range(2 * CALLS_OF_A_LOOK)))
    daemon.seconds_of_a_call = 0.01
    first = await daemon.backlogs.depths()
    assert len(daemon.asked) == CALLS_OF_A_LOOK
    assert Counter(first.values())[NOT_ASKED] == CALLS_OF_A_LOOK
    assert NOT_ASKED not in (await daemon.backlogs.depths()).values()
    assert set(daemon.asked.values()) == {1}
