"""Do the windows agree with an obvious model, which sorts the records by their time?"""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams import tumbling


class Held(NamedTuple):
    arrived_at: float


ARRIVALS = st.lists(st.floats(1_600_000_000, 1_600_001_000).map(lambda moment: round(moment, 3)), max_size=40)


def windows_of(records: list[Held], length: int) -> list[tuple[int, int, list[Held]]]:
    """Cut the records of a shard as the engine does."""
    windows = []
    while records:
        window = tumbling.opened(records[0].arrived_at, length)
        count = tumbling.within(window, records)
        assert count > 0, "a window that is opened has its first record"
        windows.append((window.start, window.end, records[:count]))
        records = records[count:]
    return windows


@given(ARRIVALS, st.integers(1, 900))
def test_records_in_order_of_arrival_fall_into_the_windows_of_the_clock(arrivals: list[float], length: int) -> None:
    records = [Held(moment) for moment in sorted(arrivals)]
    model = [
        (number * length, (number + 1) * length, list(group))
        for number, group in groupby(records, key=lambda record: int(record.arrived_at) // length)
    ]
    assert windows_of(records, length) == model


@given(ARRIVALS, st.integers(1, 900))
def test_in_any_order_every_record_counts_once_and_no_window_has_a_later_record(
    arrivals: list[float], length: int
) -> None:
    records = [Held(moment) for moment in arrivals]
    windows = windows_of(records, length)
    assert [record for _, _, held in windows for record in held] == records
    assert all(record.arrived_at < end for _, end, held in windows for record in held)
    assert all(start % length == 0 and end - start == length for start, end, _ in windows)
