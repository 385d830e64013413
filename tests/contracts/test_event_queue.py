"""What must every queue of events do? See ports.EventQueue. A test has one queue, as two processes use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from trio.testing import MockClock

from poller.composition.mappings import WallClock
from poller.errors import QueueFull, Rejected
from poller.event_queues.embedded import EmbeddedEventQueue
from poller.event_queues.sqs import SqsEventQueue
from poller.model.event import MOST_BYTES_TAKEN, Ending, Event, EventQueueDepth, LastAttempt, TakenEvent
from poller.model.ids import FunctionName
from poller.ports import Clock, EventQueue
from tests.contracts.conftest import ONLY_ACCOUNT_OF_MOTO, Broker, Queue, json_client
from tests.fakes.clock import VirtualClock
from tests.fakes.event_queue import FakeEventQueue
from tests.fakes.events import MAIL, RESIZE
from tests.fakes.events import event as new_event
from tests.fakes.sqs import FakeSqs

pytestmark = pytest.mark.anyio

MAXIMUM_BYTES = 100_000

FILES = {"fake": 60.0, "embedded on asyncio": 0.2, "embedded on trio": 0.2}
"""The queues of any number of functions, and how many seconds a claim lasts where a test waits for its end."""

SQS = {"SQS in memory": 60.0, "ministack": 1.0, "moto": 1.0}
"""The queues of one function, and how many seconds a claim lasts where a test waits for its end."""

LACKS = {
    ("moto", "test_a_lost_claim_is_not_extended"): "it hides a message under any receipt that it ever had",
    ("moto", "test_a_lost_claim_puts_nothing_back"): "it hides a message under any receipt that it ever had",
    ("moto", "test_a_lost_claim_removes_nothing"): "any receipt that a message ever had deletes it",
}


class Shared(NamedTuple):
    """One queue in two processes, whose claims last as long as a claim usually does, or end soon."""

    ours: EventQueue
    other: EventQueue
    clock: Clock


class Opener:
    """Opens queues of one kind; they are closed at the end of the test."""

    def __init__(self, kind: str, folder: Path, stack: AsyncExitStack, broker: Broker | None) -> None:
        self.soon_in_seconds = (FILES | SQS)[kind]
        self._kind = kind
        self._folder = folder
        self._stack = stack
        self._broker = broker

    async def open(self, *, claims_end_soon: bool = False, maximum_bytes: int = MAXIMUM_BYTES) -> Shared:
        claim_in_seconds = self.soon_in_seconds if claims_end_soon else 60.0
        clock = WallClock() if self._kind in ("ministack", "moto") else VirtualClock()
        if self._kind == "fake":
            fake = FakeEventQueue(clock, claim_in_seconds=claim_in_seconds, maximum_bytes=maximum_bytes)
            return Shared(fake, fake, clock)
        if self._broker is not None:
            queue = await self._broker.create_queue(MaximumMessageSize=str(MAXIMUM_BYTES))
            ours, other = [sqs_queue(queue, clock, claim_in_seconds=int(claim_in_seconds)) for _ in range(2)]
            await ours.describe()
            return Shared(ours, other, clock)
        files = [
            EmbeddedEventQueue(
                self._folder / "events.db", clock=clock, maximum_bytes=maximum_bytes, claim_in_seconds=claim_in_seconds
            )
            for _ in range(2)
        ]
        first, second = [await self._stack.enter_async_context(file) for file in files]
        return Shared(first, second, clock)


def sqs_queue(queue: Queue, clock: Clock, *, claim_in_seconds: int = 60) -> SqsEventQueue:
    return SqsEventQueue(
        queue.client,
        queue.source(),
        queue_url=queue.url,
        function=RESIZE,
        clock=clock,
        of_sender=lambda event: event,
        claim_in_seconds=claim_in_seconds,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of what only a file can do asks for the fixture `file`."""
    # the quick tests use a file on one backend, because each open of a file takes time
    kinds = [pytest.param(kind, marks=pytest.mark.slow if kind == "embedded on trio" else []) for kind in FILES]
    if "file" not in metafunc.fixturenames:
        kinds += [pytest.param(kind, marks=[] if "memory" in kind else pytest.mark.slow) for kind in SQS]
    metafunc.parametrize("kind", kinds)


@pytest.fixture
def anyio_backend(kind: str) -> Any:
    """A fake waits in virtual time: each test has a clock of its own that jumps when nothing runs."""
    if kind in ("fake", "SQS in memory"):
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "trio" if "trio" in kind else "asyncio"


@pytest.fixture
async def broker(kind: str, request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[Broker | None]:
    """The SQS of the test; None for a file."""
    if reason := LACKS.get((kind, request.node.originalname)):
        request.applymarker(pytest.mark.xfail(reason=f"{kind}: {reason}", strict=True))
    if kind in FILES:
        yield None
    elif kind == "SQS in memory":
        yield Broker(FakeSqs(), "http://sqs.fake", ONLY_ACCOUNT_OF_MOTO)
    else:
        endpoint_url: str = request.getfixturevalue(kind)
        account: str = request.getfixturevalue("account")
        async with json_client(endpoint_url) as client:
            yield Broker(client, endpoint_url, ONLY_ACCOUNT_OF_MOTO if kind == "moto" else account)


@pytest.fixture
async def opener(kind: str, tmp_path: Path, broker: Broker | None) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:
        yield Opener(kind, tmp_path, stack, broker)


@pytest.fixture
async def shared(opener: Opener) -> Shared:
    return await opener.open()


@pytest.fixture
async def file(shared: Shared) -> Shared:
    return shared


@pytest.fixture
async def roomy(file: Shared, opener: Opener) -> Shared:
    """A queue that is no SQS queue, and that has room for large answers."""
    return await opener.open(maximum_bytes=100 * 2**20)


@pytest.fixture
async def hasty(opener: Opener) -> Shared:
    """A queue whose claims end soon."""
    return await opener.open(claims_end_soon=True)


def event(clock: Clock, *, due_in: float = 0.0, function: FunctionName = RESIZE, payload: bytes = b"{}") -> Event:
    return new_event(clock.now(), due_in=due_in, function=function, payload=payload)


async def take(
    queue: EventQueue, *, count: int = 10, wait_in_seconds: float = 0.0, function: FunctionName = RESIZE
) -> list[TakenEvent]:
    return await queue.take(function, count=count, wait_in_seconds=wait_in_seconds)


async def take_one(queue: EventQueue) -> TakenEvent:
    """Take the only event; wait for it for far longer than a claim lasts."""
    with anyio.fail_after(200):
        [taken] = await take(queue, count=1, wait_in_seconds=100)
    return taken


def again(event: Event) -> Event:
    """The event without its postponements: SQS cannot tell a lost claim from a postponement."""
    return replace(event, postponements=0)


def events(taken: Sequence[TakenEvent]) -> list[Event]:
    return [each.event for each in taken]


async def test_an_event_is_taken_as_it_was_put(shared: Shared) -> None:
    full = replace(
        event(shared.clock, payload='{"text": "∑ \\u0000 \\ud800 \U0001f600"}'.encode()),
        invoked_arn="arn:aws:lambda:eu-west-1:123456789012:function:resize:$LATEST",
        trace="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;Lineage=a87bd80c:1|68fd508a:5",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        attempts=1,
        postponements=7,
        last=LastAttempt(
            status_code=200, executed_version="$LATEST", function_error="Unhandled", error_message="no – ñ\n"
        ),
    )
    plain = event(shared.clock)
    await shared.ours.put([full])
    assert (await take_one(shared.ours)).event == full
    await shared.ours.put([plain])
    taken = await take_one(shared.ours)
    assert taken.event == plain
    assert shared.clock.now() < taken.claimed_until <= shared.clock.now() + 60


async def test_an_empty_queue_gives_no_event(shared: Shared) -> None:
    assert await take(shared.ours) == []
    with anyio.fail_after(60):
        assert await take(shared.ours, wait_in_seconds=0.1) == []


async def test_a_claimed_event_is_not_taken_again(shared: Shared) -> None:
    await shared.ours.put([event(shared.clock)])
    await take_one(shared.ours)
    assert await take(shared.ours) == []
    assert await take(shared.other) == []


async def test_an_event_is_taken_again_after_its_claim_has_ended(hasty: Shared) -> None:
    await hasty.ours.put([event(hasty.clock)])
    first = await take_one(hasty.ours)
    second = await take_one(hasty.other)
    assert again(second.event) == first.event
    assert second.handle != first.handle
    assert hasty.clock.now() >= first.claimed_until - 0.01  # a queue may round the deadline


@pytest.mark.slow
async def test_an_extended_claim_keeps_the_event(hasty: Shared, opener: Opener) -> None:
    await hasty.ours.put([event(hasty.clock)])
    extended = await hasty.ours.extend(await take_one(hasty.ours), by_seconds=100)
    assert extended is not None
    assert hasty.clock.now() + 90 < extended.claimed_until <= hasty.clock.now() + 100
    assert await take(hasty.other, wait_in_seconds=opener.soon_in_seconds * 1.5) == []
    await hasty.ours.remove(extended)


async def test_a_lost_claim_is_not_extended(hasty: Shared) -> None:
    await hasty.ours.put([event(hasty.clock)])
    lost = await take_one(hasty.ours)
    await take_one(hasty.other)
    assert await hasty.ours.extend(lost, by_seconds=100) is None


@pytest.mark.slow
async def test_a_removed_event_is_never_taken_again(hasty: Shared, opener: Opener) -> None:
    await hasty.ours.put([event(hasty.clock)])
    taken = await take_one(hasty.ours)
    await hasty.ours.remove(taken)
    assert await take(hasty.other, wait_in_seconds=opener.soon_in_seconds * 1.5) == []
    await hasty.ours.remove(taken)


@pytest.mark.slow
async def test_a_lost_claim_removes_nothing(hasty: Shared, opener: Opener) -> None:
    put = event(hasty.clock)
    await hasty.ours.put([put])
    lost = await take_one(hasty.ours)
    await take_one(hasty.other)
    await hasty.ours.remove(lost)
    taken = await take(hasty.ours, wait_in_seconds=max(5.0, 3 * opener.soon_in_seconds))
    assert list(map(again, events(taken))) == [put]


@pytest.mark.slow
async def test_a_lost_claim_puts_nothing_back(hasty: Shared, opener: Opener) -> None:
    put = event(hasty.clock)
    await hasty.ours.put([put])
    lost = await take_one(hasty.ours)
    kept = await hasty.other.extend(await take_one(hasty.other), by_seconds=100)
    assert kept is not None
    await hasty.ours.put_back(lost, replace(put, attempts=2))
    assert await take(hasty.ours, wait_in_seconds=opener.soon_in_seconds / 2) == []
    await hasty.other.put_back(kept, replace(put, attempts=1))
    assert (await take_one(hasty.ours)).event.attempts == 1
    assert (await take_one(hasty.ours)).event.attempts == 1


async def test_an_event_that_was_put_back_is_taken_with_what_has_changed(shared: Shared) -> None:
    await shared.ours.put([event(shared.clock)])
    taken = await take_one(shared.ours)
    last = LastAttempt(status_code=200, executed_version="$LATEST", function_error="Unhandled", error_message="no")
    changed = replace(taken.event, attempts=1, postponements=2, last=last)
    await shared.ours.put_back(taken, changed)
    assert (await take_one(shared.other)).event == changed


@pytest.mark.slow
async def test_an_event_is_not_taken_before_it_is_due(shared: Shared) -> None:
    await shared.ours.put([event(shared.clock, due_in=0.3)])
    taken = await take_one(shared.ours)
    assert shared.clock.now() >= taken.event.due_at
    later = replace(taken.event, attempts=1, due_at=round(shared.clock.now() + 0.3, 3))
    await shared.ours.put_back(taken, later)
    assert (await take_one(shared.other)).event == later
    assert shared.clock.now() >= later.due_at


async def test_events_that_became_due_first_come_first(file: Shared) -> None:
    put = [event(file.clock, due_in=due_in) for due_in in (-1.0, -3.0, 100.0, -2.0)]
    await file.ours.put(put)
    assert events(await take(file.ours, count=2)) == [put[1], put[3]]
    assert events(await take(file.ours, count=2)) == [put[0]]


async def test_no_more_events_are_taken_than_asked_for(shared: Shared) -> None:
    await shared.ours.put([event(shared.clock) for _ in range(5)])
    seen: list[TakenEvent] = []
    while len(seen) < 5:
        taken = await take(shared.ours, count=2, wait_in_seconds=10)
        assert 1 <= len(taken) <= 2
        seen += taken
    assert len({each.event.request_id for each in seen}) == 5


@pytest.mark.slow
async def test_a_take_gets_fewer_large_events_but_at_least_one(roomy: Shared) -> None:
    sizes = [5 * 2**20, 5 * 2**20, 5 * 2**20, 5 * 2**20, MOST_BYTES_TAKEN + 1]
    await roomy.ours.put([event(roomy.clock, due_in=float(number - 9)) for number in range(len(sizes))])
    ended = []
    for each, size in zip(await take(roomy.ours), sizes, strict=True):
        ended.append(replace(each.event, ending=ending_with(b"1" * size)))
        await roomy.ours.put_back(each, ended[-1])
    seen: list[Event] = []
    while len(seen) < len(ended):
        taken = events(await take(roomy.ours))
        assert 1 <= len(taken) <= 3
        assert len(taken) == 1 or sum(each.size_in_bytes for each in taken) <= MOST_BYTES_TAKEN
        seen += taken
    assert seen == ended


def ending_with(answer: bytes) -> Ending:
    last = LastAttempt(status_code=200, executed_version="$LATEST", payload=answer)
    return Ending(condition="Success", at=1.25, last=last, deliveries=("on_success",))


async def test_events_of_another_function_are_not_taken(file: Shared) -> None:
    ours, others = event(file.clock), event(file.clock, function=MAIL)
    await file.ours.put([others, ours])
    assert events(await take(file.ours)) == [ours]
    assert events(await take(file.ours, function=MAIL)) == [others]


@pytest.mark.parametrize("process", ["ours", "other"])
@pytest.mark.slow
async def test_a_take_that_waits_gets_the_next_event_of_any_process(shared: Shared, process: str) -> None:
    putter: EventQueue = getattr(shared, process)
    put = event(shared.clock)
    seen: list[TakenEvent] = []

    async def wait() -> None:
        seen.extend(await take(shared.ours, wait_in_seconds=100))

    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            assert await take(shared.other) == []
            await putter.put([put])
    assert events(seen) == [put]


async def test_an_ended_event_is_taken_with_its_ending(file: Shared) -> None:
    await file.ours.put([event(file.clock)])
    taken = await take_one(file.ours)
    answer = LastAttempt(status_code=200, executed_version="7", payload=b'{"done": true}')
    ending = Ending(condition="Success", at=1.25, last=answer, deliveries=("on_success",))
    ended = replace(taken.event, attempts=1, ending=ending)
    await file.ours.put_back(taken, ended)
    taken = await take_one(file.other)
    assert taken.event == ended
    rejected = replace(
        ended,
        ending=Ending(
            condition="RetriesExhausted",
            at=1.25,
            last=None,
            deliveries=("on_failure", "dead_letter"),
            rejections=2,
            rejected_since=17.5,
        ),
    )
    await file.other.put_back(taken, rejected)
    assert (await take_one(file.ours)).event == rejected


async def test_a_stuck_event_is_not_taken(file: Shared) -> None:
    await file.ours.put([event(file.clock)])
    taken = await take_one(file.ours)
    await file.ours.put_back(taken, replace(taken.event, stuck="AccessDenied"))
    assert await take(file.other, wait_in_seconds=0.1) == []
    assert (await file.other.depth(RESIZE)).stuck == 1


async def test_the_depth_counts_each_event_once(shared: Shared) -> None:
    nothing = await shared.ours.depth(RESIZE)
    assert nothing == EventQueueDepth(waiting=0, in_flight=0)
    put = [event(shared.clock), event(shared.clock), event(shared.clock, due_in=100)]
    await shared.ours.put(put)
    await take(shared.ours, count=1, wait_in_seconds=10)
    depth = await shared.other.depth(RESIZE)
    assert (depth.waiting, depth.in_flight, depth.stuck) == (2, 1, 0)
    assert depth.oldest_accepted_at in (None, put[0].accepted_at)


async def test_the_depth_of_another_function_is_its_own(file: Shared) -> None:
    mail, resize = event(file.clock, function=MAIL), event(file.clock)
    await file.ours.put([mail, resize])
    for one in (mail, resize):
        depth = await file.ours.depth(one.function)
        assert (depth.waiting, depth.in_flight, depth.stuck) == (1, 0, 0)
        assert depth.oldest_accepted_at == pytest.approx(one.accepted_at, abs=0.001)


async def test_a_full_queue_refuses_the_whole_put_until_there_is_room(file: Shared) -> None:
    first = event(file.clock, payload=b"1" * (MAXIMUM_BYTES * 6 // 10))
    small, large = event(file.clock), event(file.clock, payload=b"1" * (MAXIMUM_BYTES * 5 // 10))
    await file.ours.put([first])
    for queue in (file.ours, file.other):
        with pytest.raises(QueueFull) as caught:
            await queue.put([small, large])
        assert 1 <= caught.value.retry_after <= 60
    taken = await take_one(file.ours)
    assert taken.event == first
    assert await take(file.ours) == []
    await file.ours.remove(taken)
    await file.other.put([large])
    assert (await take_one(file.ours)).event == large


async def test_an_event_that_is_too_large_is_rejected_with_all_of_its_put(shared: Shared) -> None:
    large = event(shared.clock, payload=b"1" * (MAXIMUM_BYTES + 1))
    with pytest.raises(Rejected):
        await shared.ours.put([event(shared.clock), large])
    assert await take(shared.ours) == []


async def test_events_that_are_put_side_by_side_are_all_taken(shared: Shared) -> None:
    put = [event(shared.clock) for _ in range(60)]
    taken: list[TakenEvent] = []

    async def take_some(queue: EventQueue) -> None:
        while len(taken) < len(put):
            some = await take(queue, wait_in_seconds=0.1)
            taken.extend(some)
            for each in some:
                await queue.remove(each)

    with anyio.fail_after(100):
        async with anyio.create_task_group() as tasks:
            for number in range(0, 60, 3):
                tasks.start_soon(shared.ours.put, put[number : number + 2])
                tasks.start_soon(shared.other.put, put[number + 2 : number + 3])
            tasks.start_soon(take_some, shared.ours)
            tasks.start_soon(take_some, shared.other)
    assert sorted(each.event.request_id for each in taken) == [each.request_id for each in put]
    assert await shared.ours.depth(RESIZE) == EventQueueDepth(waiting=0, in_flight=0)


async def test_a_take_that_is_cancelled_loses_no_event(hasty: Shared) -> None:
    put = event(hasty.clock)
    with anyio.CancelScope() as scope:
        await hasty.ours.put([put])
        scope.cancel()
        await take(hasty.ours, wait_in_seconds=10)
    assert again((await take_one(hasty.ours)).event) == put
