"""What does a lease tell its user about the batch that blocks the shard?"""

from __future__ import annotations

import pytest

from poller.core.leases.holding import Held
from poller.engine.leases.lease import Lease
from poller.engine.leases.rate import Rate
from poller.model.ids import RequestId
from poller.model.lease import Detail, Owner, Row, RowKey
from poller.model.stream import SequenceNumber

pytestmark = pytest.mark.anyio

FIRST = SequenceNumber("4959")
NOW = 1_769_860_800.0
"""The time of day. The steady clock of the process has another beginning."""


class Clock:
    """`ports.MonotonicClock` that a test sets."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    async def sleep_until(self, moment: float) -> None:
        raise AssertionError("nothing sleeps here")


def lease(row: Row, clock: Clock) -> Lease:
    return Lease(Held(row, Owner("me")), rate=Rate(row, clock.now()), clock=clock, hurry=lambda: None)


def after_a_pause(details: Detail) -> Lease:
    """Return the lease of the next user, whose process has begun later. `details` are the blocks in the row."""
    return lease(Row(key=RowKey("m/stream/shard"), details={"blocked": details}), Clock(3.0))


def blocked_for_five_seconds() -> Detail:
    clock = Clock(100.0)
    first = lease(Row(key=RowKey("m/stream/shard")), clock)
    assert first.blocked_since(FIRST, now=NOW) == NOW, "nothing blocks the shard yet"
    first.block(FIRST, 2, attempts=1, request_id=RequestId("r"), at=NOW)
    clock.time += 5
    first.block(FIRST, 2, attempts=2, request_id=RequestId("r"), at=NOW + 5)
    assert first.blocked_since(FIRST, now=NOW + 5) == NOW
    return first.details["blocked"]


async def test_the_time_without_a_user_counts_for_a_block() -> None:
    assert after_a_pause(blocked_for_five_seconds()).blocked_since(FIRST, now=NOW + 25) == NOW


async def test_a_block_never_begins_in_the_future() -> None:
    """The clock of the other host may be ahead."""
    assert after_a_pause(blocked_for_five_seconds()).blocked_since(FIRST, now=NOW - 60) == NOW - 60


@pytest.mark.parametrize("unknown", [{}, {"began_at": None}, {"began_at": "yesterday"}])
async def test_the_block_in_a_row_of_an_older_version_has_only_its_age(unknown: dict[str, Detail]) -> None:
    blocks = blocked_for_five_seconds()
    assert isinstance(blocks, list)
    [block] = blocks
    assert isinstance(block, dict)
    del block["began_at"]
    assert after_a_pause([block | unknown]).blocked_since(FIRST, now=NOW + 25) == NOW + 20


@pytest.mark.parametrize(
    "damage", [{"attempts": 0}, {"attempts": -5}, {"records": -1}, {"age_in_seconds": -1}, {"age_in_seconds": 1e308}]
)
async def test_a_damaged_block_counts_as_none(damage: dict[str, Detail]) -> None:
    blocks = blocked_for_five_seconds()
    assert isinstance(blocks, list)
    [block] = blocks
    assert isinstance(block, dict)
    assert after_a_pause([block]).blocks.keys() == {FIRST}
    assert after_a_pause([block | damage]).blocks == {}


@pytest.mark.parametrize(
    "damage", [{"began_at": 1e308}, {"began_at": -1e15}, {"began_at": None, "age_in_seconds": 2e11}]
)
async def test_the_time_of_a_damaged_block_can_be_shown(damage: dict[str, Detail]) -> None:
    blocks = blocked_for_five_seconds()
    assert isinstance(blocks, list)
    [block] = blocks
    assert isinstance(block, dict)
    assert 0 <= after_a_pause([block | damage]).blocked_since(FIRST, now=NOW) <= NOW
