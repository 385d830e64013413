from __future__ import annotations

import pytest

from poller.core.streams.pace import is_caught_up, is_empty, seconds_to_next_read
from poller.model.stream import Read, SequenceNumber, ShardIterator, StreamLimits, StreamRecord
from poller.sources import dynamodb_streams, kinesis

RECORD = StreamRecord(SequenceNumber("1"), "a", 0.0, b"{}")


def read(records: int, behind_in_seconds: float | None) -> Read:
    return Read([RECORD] * records, ShardIterator("i"), behind_in_seconds)


@pytest.mark.parametrize(
    ("records", "behind_in_seconds", "of_kinesis", "of_dynamodb"),
    [
        (5, 3.0, 0.2, 0.0),
        (0, 3.0, 0.2, 0.0),
        (5, 0.0, 1.0, 0.25),
        (0, 0.0, 1.0, 0.25),
        (5, None, 0.2, 0.0),
        (0, None, 1.0, 0.25),
    ],
)
def test_a_shard_that_is_behind_is_read_as_often_as_its_service_allows(
    records: int, behind_in_seconds: float | None, of_kinesis: float, of_dynamodb: float
) -> None:
    one = read(records, behind_in_seconds)
    assert seconds_to_next_read(one, kinesis.LIMITS) == of_kinesis
    assert seconds_to_next_read(one, dynamodb_streams.LIMITS) == of_dynamodb


@pytest.mark.parametrize("limits", [kinesis.LIMITS, dynamodb_streams.LIMITS])
def test_a_source_that_reports_its_lag_decides_whether_a_shard_is_caught_up(
    limits: StreamLimits,
) -> None:
    assert is_caught_up(read(5, 0.0), empty_reads=0, limits=limits)
    assert not is_caught_up(read(0, 0.1), empty_reads=1000, limits=limits)


def test_without_a_reported_lag_forty_empty_reads_mean_that_a_shard_is_caught_up() -> None:
    limits = dynamodb_streams.LIMITS
    assert not is_caught_up(read(0, None), empty_reads=39, limits=limits)
    assert is_caught_up(read(0, None), empty_reads=40, limits=limits)


@pytest.mark.parametrize(
    ("records", "behind_in_seconds", "empty"), [(0, None, True), (0, 0.0, True), (0, 1.0, False), (1, None, False)]
)
def test_a_read_of_older_records_that_were_left_out_is_not_empty(
    records: int, behind_in_seconds: float | None, empty: bool
) -> None:
    assert is_empty(read(records, behind_in_seconds)) is empty
