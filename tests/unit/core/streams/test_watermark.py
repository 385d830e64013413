from __future__ import annotations

import pytest

from poller.core.streams.watermark import Watermark
from poller.model.stream import AfterSequence, AtSequence, AtTimestamp, Position, SequenceNumber, ShardEnd, TrimHorizon


def number(value: int) -> SequenceNumber:
    return SequenceNumber(str(value))


def handed_out(*values: int, start: Position | None = None) -> Watermark:
    watermark = Watermark(start or TrimHorizon())
    watermark.hand_out([number(value) for value in values])
    return watermark


def position_of(watermark: Watermark) -> Position:
    return watermark.position


def test_a_record_in_hand_holds_back_the_checkpoint() -> None:
    watermark = handed_out(8, 9, 10, 11)
    watermark.finish([number(9), number(11)])
    assert position_of(watermark) == TrimHorizon()
    watermark.finish([number(8)])
    assert position_of(watermark) == AfterSequence(number(9))
    watermark.finish([number(10)])
    assert position_of(watermark) == AfterSequence(number(11))


@pytest.mark.parametrize("start", [TrimHorizon(), AtTimestamp(5.0), AtSequence(number(8)), AfterSequence(number(7))])
def test_before_any_record_is_done_the_watermark_is_where_reading_began(start: Position) -> None:
    assert Watermark(start).position == start
    assert handed_out(8, start=start).position == start


def test_filtered_records_move_the_watermark() -> None:
    watermark = Watermark(TrimHorizon())
    watermark.hand_out([number(1)], kept=[False])
    assert position_of(watermark) == AfterSequence(number(1))
    watermark.hand_out([number(2)])
    watermark.hand_out([number(3)], kept=[False])
    assert position_of(watermark) == AfterSequence(number(1))
    watermark.finish([number(2)])
    assert position_of(watermark) == AfterSequence(number(3))


def test_a_shard_is_drained_when_it_has_ended_and_all_its_records_are_done() -> None:
    watermark = handed_out(1, 2)
    watermark.end()
    watermark.finish([number(1)])
    assert position_of(watermark) == AfterSequence(number(1))
    watermark.finish([number(2)])
    assert position_of(watermark) == ShardEnd()


def test_an_empty_shard_is_drained_at_once() -> None:
    watermark = Watermark(TrimHorizon())
    watermark.end()
    assert position_of(watermark) == ShardEnd()


def test_memory_does_not_grow_behind_a_blocked_record() -> None:
    watermark = handed_out(1)
    for value in range(2, 100_000):
        watermark.hand_out([number(value)])
        watermark.finish([number(value)])
    assert watermark.in_hand == 1
    assert position_of(watermark) == TrimHorizon()
    watermark.finish([number(1)])
    assert position_of(watermark) == AfterSequence(number(99_999))


@pytest.mark.parametrize("value", [7, 8])
def test_a_record_that_does_not_follow_the_last_one_is_a_fault_of_poller(value: int) -> None:
    watermark = handed_out(8)
    with pytest.raises(AssertionError):
        watermark.hand_out([number(value)])
    with pytest.raises(AssertionError):
        watermark.hand_out([number(value)], kept=[False])


@pytest.mark.parametrize("values", [(8, 8), (8, 7), (8, 9, 10, 10), (9, 11, 10), (100, 99)])
def test_records_that_do_not_follow_each_other_are_a_fault_of_poller(values: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        handed_out(*values)


def test_sequence_numbers_follow_each_other_as_numbers_do() -> None:
    assert handed_out(9, 10, 99, 100).in_hand == 4


@pytest.mark.parametrize(("start", "first"), [(AfterSequence(number(8)), 8), (AtSequence(number(8)), 7)])
def test_a_record_before_the_start_is_a_fault_of_poller(start: Position, first: int) -> None:
    with pytest.raises(AssertionError):
        handed_out(first, start=start)
    assert handed_out(first + 1, start=start).in_hand == 1


def test_finishing_a_record_twice_or_before_it_is_in_hand_is_a_fault_of_poller() -> None:
    watermark = handed_out(1)
    watermark.hand_out([number(2)], kept=[False])
    watermark.finish([number(1)])
    for value in (1, 2, 3):
        with pytest.raises(AssertionError):
            watermark.finish([number(value)])


def test_a_record_after_the_end_is_a_fault_of_poller() -> None:
    watermark = handed_out(1)
    watermark.end()
    with pytest.raises(AssertionError):
        watermark.hand_out([number(2)])


def test_a_drained_shard_is_not_read() -> None:
    with pytest.raises(AssertionError):
        Watermark(ShardEnd())
