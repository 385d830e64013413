"""How long is a mapping that crashes left alone?"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.engine.daemon import FORGIVEN_AFTER_IN_SECONDS, Daemon
from poller.engine.stop import Stop
from poller.facts import Fact, MappingCrashed
from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingStatus
from tests.fakes.clock import VirtualClock

pytestmark = pytest.mark.anyio

NAME = MappingName("m")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Crashing:
    """A runner that crashes after so long; with no time left, it asks for the stop and ends."""

    def __init__(self, crashes_after: list[float], stop: Stop) -> None:
        self._crashes_after = crashes_after
        self._stop = stop

    def status(self) -> MappingStatus:
        return MappingStatus(
            mapping=NAME,
            function=FunctionName("f"),
            source="s",
            state="ready",
            reason=None,
            polls_in_flight=0,
            batches_in_flight=0,
            messages_held=0,
            concurrency_limit=1,
        )

    async def run(self) -> None:
        if not self._crashes_after:
            self._stop.begin()
            return
        await anyio.sleep(self._crashes_after.pop(0))
        raise ZeroDivisionError


async def pauses(*crashes_after: float) -> list[float]:
    """The pauses after runs that crashed so long after they had begun."""
    facts: list[Fact] = []
    stop, runs = Stop(), list(crashes_after)
    daemon = Daemon(
        {NAME: lambda: Crashing(runs, stop)},
        stop=stop,
        grace_in_seconds=1,
        clock=VirtualClock(),
        emit=facts.append,
        randomness=random.Random(1),
    )
    await daemon.run()
    told = [fact.retry_in_seconds for fact in facts if isinstance(fact, MappingCrashed)]
    assert anyio.current_time() == pytest.approx(sum(crashes_after) + sum(told))
    return told


async def test_each_crash_in_a_row_doubles_the_pause_up_to_its_limit() -> None:
    """Half of a pause is randomness."""
    longest = [1, 2, 4, 8, 16, 32, 60, 60]
    told = await pauses(*[1.0] * len(longest))
    assert all(most / 2 <= pause <= most for pause, most in zip(told, longest, strict=True)), told


async def test_a_run_that_went_well_for_long_begins_a_new_count() -> None:
    told = await pauses(1.0, 1.0, 1.0, 1.0, FORGIVEN_AFTER_IN_SECONDS + 1, 1.0)
    assert told[3] >= 4
    assert told[4] <= 1
    assert told[5] <= 2


async def test_a_run_that_was_too_short_does_not_begin_a_new_count() -> None:
    told = await pauses(1.0, 1.0, 1.0, 1.0, FORGIVEN_AFTER_IN_SECONDS - 1)
    assert told[4] >= 8
