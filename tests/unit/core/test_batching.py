from __future__ import annotations

from itertools import takewhile

from hypothesis import example, given
from hypothesis import strategies as st

from poller.core.batching import EMPTY_EVENT_BYTES, MAXIMUM_EVENT_BYTES, BatchBuilder
from poller.core.envelope import event


def test_a_batch_is_full_with_batch_size_records() -> None:
    builder = BatchBuilder(batch_size=2)
    assert builder.add(100, now=0)
    assert not builder.is_full
    assert builder.add(100, now=0)
    assert builder.is_full
    assert not builder.add(100, now=0)
    assert builder.count == 2


def test_an_event_is_smaller_than_six_mebibytes() -> None:
    half, odd_byte = divmod(6 * 1024 * 1024 - 1 - len('{"Records":[,]}'), 2)
    builder = BatchBuilder(batch_size=10)
    assert builder.add(half, now=0)
    assert not builder.add(half + odd_byte + 1, now=0)
    assert builder.add(half + odd_byte, now=0)
    assert builder.size_in_bytes == 6_291_455
    assert builder.is_full


def test_a_record_longer_than_an_event_is_a_batch_alone() -> None:
    builder = BatchBuilder(batch_size=10)
    assert builder.add(MAXIMUM_EVENT_BYTES + 1, now=0)
    assert builder.is_full
    assert not builder.add(2, now=0)


def test_a_record_that_was_refused_leaves_the_batch_as_it_was() -> None:
    builder = BatchBuilder(batch_size=10, limit_in_bytes=100)
    builder.add(50, now=0)
    assert not builder.add(50, now=0)
    assert (builder.count, builder.size_in_bytes) == (1, EMPTY_EVENT_BYTES + 50)


def test_the_window_runs_from_the_first_record() -> None:
    builder = BatchBuilder(batch_size=10, window_in_seconds=5)
    assert builder.deadline is None
    assert not builder.is_due(1000)
    builder.add(100, now=7)
    builder.add(100, now=9)
    assert builder.deadline == 12
    assert not builder.is_due(11.9)
    assert builder.is_due(12)


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    builder = BatchBuilder(batch_size=1, window_in_seconds=5)
    builder.add(100, now=0)
    assert builder.is_due(0)


def test_without_a_window_a_batch_is_due_with_its_first_record() -> None:
    builder = BatchBuilder(batch_size=10)
    builder.add(100, now=3)
    assert not builder.is_full
    assert builder.is_due(3)


LIMIT = 60


def by_hand(records: list[bytes], batch_size: int) -> list[list[bytes]]:
    """Cut batches in the obvious way: encode the event with one more record, and measure its length."""
    batches: list[list[bytes]] = []
    for record in records:
        if batches and len(batches[-1]) < batch_size and len(event([*batches[-1], record])) <= LIMIT:
            batches[-1].append(record)
        else:
            batches.append([record])
    return batches


@given(st.lists(st.integers(2, LIMIT).map(lambda size: b"r" * size)), st.integers(1, 10))
@example([b"r" * 45, b"r" * (LIMIT - EMPTY_EVENT_BYTES), b"rr"], 10)
def test_batches_are_cut_where_the_encoded_event_would_grow_too_long(records: list[bytes], batch_size: int) -> None:
    batches: list[list[bytes]] = []
    builder = BatchBuilder(batch_size=batch_size, limit_in_bytes=LIMIT)
    for record in records:
        if not batches or not builder.add(len(record), now=0):
            builder = BatchBuilder(batch_size=batch_size, limit_in_bytes=LIMIT)
            assert builder.add(len(record), now=0)
            batches.append([])
        batches[-1].append(record)
        assert builder.size_in_bytes == len(event(batches[-1]))
        assert builder.size_in_bytes <= LIMIT or builder.count == 1
        assert builder.is_full == (builder.count == batch_size or len(event(batches[-1])) >= LIMIT)
    assert batches == by_hand(records, batch_size)


@given(st.lists(st.lists(st.integers(2, LIMIT + 2), max_size=8), max_size=4), st.integers(1, 10))
def test_filling_a_batch_equals_adding_records_one_by_one_until_one_does_not_fit(
    fillings: list[list[int]], batch_size: int
) -> None:
    filled, added = (BatchBuilder(batch_size=batch_size, window_in_seconds=5, limit_in_bytes=LIMIT) for _ in range(2))
    for now, sizes in enumerate(fillings):
        count = filled.fill(sizes, now=now)
        assert count == sum(takewhile(bool, (added.add(size, now=now) for size in sizes)))
        assert (filled.count, filled.size_in_bytes, filled.deadline) == (
            added.count,
            added.size_in_bytes,
            added.deadline,
        )
