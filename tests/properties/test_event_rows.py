"""Do the rows of events do what an obvious model does?

There are two takers, three functions, and a clock that never goes back.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from itertools import chain
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from poller.event_queues import rows
from poller.event_queues.notation import parse_rest, rest_of
from poller.event_queues.rows import Claimed
from poller.event_queues.schema import STEPS
from poller.model.event import Condition, Delivery, Ending, Event, EventQueueDepth, LastAttempt, TakenEvent
from poller.model.ids import FunctionName, RequestId

NOW = 1_767_225_600.0

TIMES = st.integers(-3000, 3000).map(lambda milliseconds: NOW + milliseconds / 1000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
LASTS = st.builds(
    LastAttempt,
    status_code=st.integers(200, 599),
    executed_version=st.none() | st.text("$LATEST123", min_size=1),
    function_error=st.none() | st.just("Unhandled"),
    payload=st.none() | st.binary(max_size=50),
    error_message=TEXTS,
)
ENDINGS = st.builds(
    Ending,
    condition=st.sampled_from(get_args(Condition)),
    at=TIMES,
    last=st.none() | LASTS,
    deliveries=st.lists(st.sampled_from(get_args(Delivery)), unique=True).map(tuple),
    rejections=st.integers(0, 9),
    rejected_since=st.none() | TIMES,
)
FUNCTIONS = st.sampled_from([FunctionName("a"), FunctionName("b"), FunctionName("ü")])
EVENTS = st.builds(
    Event,
    request_id=st.uuids().map(lambda each: RequestId(str(each))),
    function=FUNCTIONS,
    payload=st.binary(max_size=100),
    accepted_at=TIMES,
    due_at=TIMES,
    invoked_arn=st.none() | st.text("arn:", min_size=1),
    trace=TEXTS,
    traceparent=TEXTS,
    attempts=st.integers(0, 3),
    postponements=st.integers(0, 1000),
    last=st.none() | LASTS,
    ending=st.none() | ENDINGS,
    stuck=st.sampled_from(["", "", "", "AccessDenied"]),
)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    rest = parse_rest(rest_of(event))
    plain = replace(event, invoked_arn=None, trace="", traceparent="", last=None, ending=None)
    assert replace(plain, **rest) == event


@dataclass
class Held:
    """An event in the model. It may be taken from `free_at` on; `handle` is that of its last claim."""

    event: Event
    free_at: float
    handle: str = ""


class Rows(RuleBasedStateMachine):
    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.file = sqlite3.connect(":memory:", isolation_level=None)
        for statement in chain(*STEPS):
            self.file.execute(statement)
        self.held: list[Held] = []
        self.now = NOW
        self.claims = 0

    def teardown(self) -> None:
        self.file.close()

    def claimed(self, taken: TakenEvent) -> Held | None:
        return next((held for held in self.held if held.handle == taken.handle), None)

    @rule(events=st.lists(EVENTS, min_size=1, max_size=4))
    def put(self, events: list[Event]) -> None:
        rows.put(self.file, events)
        self.held += [Held(event, event.due_at) for event in events]

    @rule(seconds=st.sampled_from([0.001, 1.0, 60.0, 301.0]))
    def pass_time(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    @rule(target=taken, function=FUNCTIONS, count=st.integers(1, 3))
    def take(self, function: FunctionName, count: int) -> object:
        self.claims += 1
        free = [
            held
            for held in self.held
            if held.event.function == function and not held.event.stuck and held.free_at <= self.now
        ]
        until = self.now + 60
        taken = rows.take(self.file, function, claim=f"c-{self.claims}", count=count, now=self.now, until=until)
        assert len(taken) == min(count, len(free))
        assert [each.event.due_at for each in taken] == sorted(each.event.due_at for each in taken)
        for each in taken:
            held = next(held for held in free if held.event == each.event and held.handle != each.handle)
            left = [other.free_at for other in free if other.event not in [one.event for one in taken]]
            assert all(held.free_at <= at for at in left), "the first that became free is taken first"
        for each in taken:
            held = next(held for held in free if held.event == each.event)
            held.free_at, held.handle = until, each.handle
        return multiple(*taken)

    @rule(taken=taken, seconds=st.sampled_from([1.0, 300.0]))
    def extend(self, taken: TakenEvent, seconds: float) -> None:
        held = self.claimed(taken)
        assert rows.extend(self.file, Claimed.of(taken), until=self.now + seconds) == (held is not None)
        if held is not None:
            held.free_at = self.now + seconds

    @rule(taken=taken, changed=EVENTS)
    def put_back(self, taken: TakenEvent, changed: Event) -> None:
        same = taken.event
        event = replace(
            changed,
            request_id=same.request_id,
            function=same.function,
            payload=same.payload,
            accepted_at=same.accepted_at,
        )
        rows.put_back(self.file, Claimed.of(taken), event, rest_of(event))
        if (held := self.claimed(taken)) is not None:
            held.event, held.free_at, held.handle = event, event.due_at, ""

    @rule(taken=taken)
    def release(self, taken: TakenEvent) -> None:
        rows.release(self.file, [taken])
        if (held := self.claimed(taken)) is not None:
            held.free_at, held.handle = held.event.due_at, ""

    @rule(taken=st.lists(consumes(taken), min_size=1, max_size=3))
    def remove(self, taken: list[TakenEvent]) -> None:
        rows.remove(self.file, [Claimed.of(each) for each in taken])
        handles = [each.handle for each in taken]
        self.held = [held for held in self.held if held.handle not in handles]

    @invariant()
    def counts(self) -> None:
        assert rows.functions(self.file) == {held.event.function for held in self.held}
        for function in ("a", "b", "ü"):
            held = [held for held in self.held if held.event.function == function]
            stuck = sum(bool(each.event.stuck) for each in held)
            in_flight = sum(bool(each.handle) and each.free_at > self.now for each in held if not each.event.stuck)
            name = FunctionName(function)
            assert rows.depth(self.file, name, now=self.now) == EventQueueDepth(
                waiting=len(held) - stuck - in_flight,
                in_flight=in_flight,
                stuck=stuck,
                oldest_accepted_at=min((each.event.accepted_at for each in held), default=None),
            )
            free_at = min((each.free_at for each in held if not each.event.stuck), default=None)
            assert rows.next_free(self.file, [name]).get(name) == free_at

    @invariant()
    def payloads(self) -> None:
        assert self.file.execute("SELECT count(*) FROM payload").fetchone() == (len(self.held),)


TestRows = pytest.mark.slow(Rows.TestCase)
TestRows.settings = settings(stateful_step_count=30)
