"""Which function do tests of tumbling windows use? Its state lists the records that it got, and its calls are recorded.

The state is `{"seen": [sequence numbers]}`, so a test finds records that are lost or counted twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import anyio
import orjson

from poller.model.invocation import Answered, Invocation, Response
from tests.fakes.clock import EPOCH
from tests.simulation.one_stream import KinesisWorld, OneStreamWorld, TableWorld

WindowName = tuple[str, int]
"""A window: its shard, and its start on anyio's clock."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One invocation. `start` and `end` are the bounds of the window. `at` is the time at which the invocation began.
    All times are on anyio's clock.
    """

    at: float
    event: dict[str, Any]
    shard_id: str
    numbers: list[str]
    start: int
    end: int
    state: Any
    is_final: bool
    is_early: bool

    @property
    def window(self) -> WindowName:
        return self.shard_id, self.start


class Windows(OneStreamWorld):
    """The function. If `answer` returns an answer for a call, it is used.

    Otherwise, the function adds the records to its state.

    `windows` are all calls. `ended` are the calls in which the function ran to its end and returned an answer.
    """

    def __init__(self, *, length: int = 10, **options: Any) -> None:
        super().__init__(tumbling_window_in_seconds=length, **options)
        self.length = length
        self.windows: list[Call] = []
        self.ended: list[Call] = []
        self.answer: Callable[[Call], Response | None] = lambda _call: None

    async def invoke(self, invocation: Invocation) -> Response:
        call = call_of(invocation, anyio.current_time())
        self.windows.append(call)
        await anyio.sleep(self.duration)
        response = self.answer(call) or Answered(gathered(call, call.numbers))
        if isinstance(response, Answered):
            self.ended.append(call)
        return response

    def finals(self) -> list[Call]:
        return [call for call in self.windows if call.is_final]

    def put_into(self) -> dict[WindowName, list[str]]:
        """Return the records that each window must count, by their arrival times."""
        windows: defaultdict[WindowName, list[str]] = defaultdict(list)
        for entry in self.stream.history:
            if entry.kind == "put":
                windows[entry.shard_id, int(entry.at // self.length) * self.length] += entry.sequence_numbers
        return windows

    def seen_in(self) -> dict[WindowName, list[str]]:
        """Return the records in the states of all finished last calls, including early ones.

        A repeated call counts once.
        """
        seen: defaultdict[WindowName, list[str]] = defaultdict(list)
        finals = sorted((call for call in self.ended if call.is_final), key=lambda call: call.window)
        for window, calls in groupby(finals, lambda call: call.window):
            states = [(call.is_early, tuple(call.state.get("seen", ()))) for call in calls]
            for _, numbers in dict.fromkeys(states):  # a crash repeats an early last call and the call after it
                seen[window] += numbers
            last = {state for state in states if not state[0]}
            assert len(last) == 1, f"{window} was closed with different states: {last}"
        return seen


class WindowWorld(Windows, KinesisWorld):
    """Windows of a Kinesis stream."""


class WindowTable(Windows, TableWorld):
    """Windows of a table's stream."""


def call_of(invocation: Invocation, at: float) -> Call:
    event = orjson.loads(invocation.payload)
    return Call(
        at=at,
        event=event,
        shard_id=event["shardId"],
        numbers=[number_of(record) for record in event["Records"]],
        start=seconds_of(event["window"]["start"]),
        end=seconds_of(event["window"]["end"]),
        state=event["state"],
        is_final=event["isFinalInvokeForWindow"],
        is_early=event["isWindowTerminatedEarly"],
    )


def number_of(record: dict[str, Any]) -> str:
    number = record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"]
    return str(number)


def seconds_of(text: str) -> int:
    """Return the time of an event in seconds on anyio's clock."""
    return int(datetime.fromisoformat(text).timestamp() - EPOCH)


def gathered(call: Call, numbers: list[str], **also: Any) -> bytes:
    """Return the answer that adds these records to the state."""
    return orjson.dumps({"state": {"seen": call.state.get("seen", []) + numbers}} | also)
