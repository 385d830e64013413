from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams.lanes import lane_of, split
from poller.model.stream import SequenceNumber, StreamRecord


def records_of(keys: list[str]) -> list[StreamRecord]:
    return [StreamRecord(SequenceNumber(str(number)), key, 0.0, b"{}") for number, key in enumerate(keys)]


def test_a_key_has_the_same_lane_after_a_restart_and_in_every_python() -> None:
    """CRC-32 of "123456789" is 0xCBF43926 by its definition."""
    assert lane_of("123456789", 10) == 0xCBF43926 % 10
    assert [lane_of(key, 10) for key in ["", "a", "é", "user-1"]] == [0, 7, 6, 4]


@given(st.text(st.characters()), st.integers(1, 10))
def test_every_key_has_a_lane(key: str, factor: int) -> None:
    assert 0 <= lane_of(key, factor) < factor


@pytest.mark.parametrize("factor", range(2, 11))
@pytest.mark.parametrize("form", ["user-{}", "{}", '{{"id":{{"S":"{:08}"}}}}', "uuid"])
def test_keys_spread_over_the_lanes(form: str, factor: int) -> None:
    keys = [str(UUID(int=n * 2**64 + n)) if form == "uuid" else form.format(n) for n in range(10_000)]
    counts = Counter(lane_of(key, factor) for key in keys)
    assert min(counts.values()) > 0.8 * 10_000 / factor
    assert len(counts) == factor


@given(st.lists(st.text(max_size=2)), st.integers(1, 10))
def test_records_of_one_key_share_a_lane_and_keep_their_order(keys: list[str], factor: int) -> None:
    records = records_of(keys)
    lanes = split(records, factor)
    assert len(lanes) == factor
    assert sorted(int(record.sequence_number) for lane in lanes for record in lane) == list(range(len(keys)))
    for lane in lanes:
        assert lane == sorted(lane, key=lambda record: int(record.sequence_number))
    for key in keys:
        assert len([lane for lane in lanes if any(record.lane_key == key for record in lane)]) == 1
