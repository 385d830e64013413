"""Is a read with impossible values refused, and every other read accepted?"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams.reads import fault_in
from poller.model.stream import Read, SequenceNumber, ShardIterator, StreamRecord


def read(*records: StreamRecord, behind: Any = 0.0) -> Read:
    return Read(list(records), ShardIterator("next"), behind)


def record(number: Any = "10", *, key: Any = "key", arrived_at: Any = 1_767_225_600.0) -> StreamRecord:
    return StreamRecord(SequenceNumber(number), key, arrived_at, b"{}")


@given(st.sets(st.integers(0, 10**129 - 1), max_size=20), st.floats(0, 4e9), st.none() | st.floats(0, 4e7))
def test_records_that_follow_each_other_can_be_delivered(
    numbers: set[int], arrived_at: float, behind: float | None
) -> None:
    records = [record(str(each), arrived_at=arrived_at) for each in sorted(numbers)]
    assert fault_in(read(*records, behind=behind)) is None


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [
        (["10", "11", "11"], "do not increase"),
        (["10", "12", "11"], "do not increase"),
        (["10", "9"], "do not increase"),
        (["9", "10", "09"], "do not increase"),
        (["10", "abc"], "not a number"),
        (["10", ""], "not a number"),
        ([""], "not a number"),
        (["10", "1\N{ARABIC-INDIC DIGIT ONE}"], "not a number"),
        (["1" * 130], "not a number"),
        (["\ud800"], "not a number"),
        (["10", 11], "a wrong type"),
        ([None], "a wrong type"),
    ],
)
def test_sequence_numbers_must_be_numbers_that_increase(numbers: list[Any], fault: str) -> None:
    assert fault in str(fault_in(read(*map(record, numbers))))


@pytest.mark.parametrize(
    "arrived_at", [-1.0, nan, inf, -inf, 1e300, 1_767_225_600_000.0, 10**400, "1767225600", None, []]
)
def test_an_arrival_time_must_be_a_possible_time(arrived_at: Any) -> None:
    """The impossible time is among possible ones, at any index.

    Milliseconds in place of seconds mean the year 58000.
    """
    odd = record("11", arrived_at=arrived_at)
    assert fault_in(read(record("10"), odd, record("12"))) is not None
    assert fault_in(read(record("10"), record("11")._replace(arrived_at=odd.arrived_at))) is not None
    assert fault_in(read(odd)) is not None


def test_an_arrival_time_may_be_a_whole_number() -> None:
    assert fault_in(read(record("10", arrived_at=1_767_225_600), record("11"))) is None


@pytest.mark.parametrize("key", [None, 1, ["a"]])
def test_a_lane_key_must_be_a_text(key: Any) -> None:
    assert "a wrong type" in str(fault_in(read(record("10"), record("11", key=key))))


@pytest.mark.parametrize("behind", [-0.001, nan, inf, 1e300])
def test_a_time_behind_the_tip_must_be_possible(behind: float) -> None:
    assert "behind" in str(fault_in(read(behind=behind)))
