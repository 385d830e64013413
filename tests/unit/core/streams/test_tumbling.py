from __future__ import annotations

from typing import NamedTuple

import orjson
import pytest

from poller.core import outcome as outcomes
from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.envelope import window_event
from poller.core.streams import tumbling
from poller.model.invocation import Answered, FunctionError, Throttled
from poller.model.outcome import Failed, Outcome, PartlyFailed, Postponed, Succeeded
from poller.model.stream import Window

MINUTE = Window(120, 180, b'{"1":2}')


class Held(NamedTuple):
    arrived_at: float


@pytest.mark.parametrize(
    ("arrived_at", "length", "start"),
    [(1_607_497_475.0, 120, 1_607_497_440), (1_607_497_440.0, 120, 1_607_497_440), (19.999, 10, 10), (20.0, 10, 20)],
)
def test_bounds_are_multiples_of_the_length_since_the_epoch(arrived_at: float, length: int, start: int) -> None:
    assert tumbling.opened(arrived_at, length) == Window(start, start + length, b"{}")


def test_a_batch_takes_no_record_of_a_later_window() -> None:
    records = [Held(120.0), Held(179.999), Held(180.0), Held(130.0)]
    assert tumbling.within(MINUTE, records) == 2
    assert tumbling.within(MINUTE, records[:2]) == 2
    assert tumbling.within(MINUTE, records[2:]) == 0


def test_a_late_record_counts_in_the_window_that_is_open() -> None:
    assert tumbling.within(MINUTE, [Held(119.0), Held(130.0)]) == 2


def closing(
    *, next_arrived_at: float | None = None, caught_up_at: float | None = None, is_shard_end: bool = False
) -> str | None:
    return tumbling.closing(
        MINUTE, next_arrived_at=next_arrived_at, caught_up_at=caught_up_at, is_shard_end=is_shard_end
    )


def test_a_later_record_closes_a_window() -> None:
    assert closing(next_arrived_at=180.0) == "later record"
    assert closing(next_arrived_at=179.0, caught_up_at=10_000.0) is None


def test_the_shards_end_closes_a_window_once_its_records_are_done() -> None:
    assert closing(is_shard_end=True) == "shard end"
    assert closing(next_arrived_at=179.0, is_shard_end=True) is None


def test_an_idle_window_closes_within_two_minutes_of_its_end() -> None:
    assert closing(caught_up_at=209.9) is None
    assert closing(caught_up_at=210.0) == "idle"
    assert tumbling.idle_at(MINUTE) == 210.0
    assert tumbling.idle_at(MINUTE) - MINUTE.end <= 120


def test_a_window_whose_reader_lags_behind_is_not_idle() -> None:
    assert closing(caught_up_at=None) is None
    assert closing(caught_up_at=150.0) is None


def interpreted(payload: bytes, *, reports: bool = True, is_final: bool = False) -> Outcome:
    response = Answered(payload)
    outcome = outcomes.interpret(response, identifiers=["1", "2"], reports_item_failures=reports, event=b"")
    return tumbling.interpret(outcome, response, is_final=is_final)


@pytest.mark.parametrize("reports", [False, True])
@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"{}", b"[]", b'{"state":null}', b'{"batchItemFailures":[]}', b'"state"', b'{"state":NaN}'],
)
def test_an_answer_without_state_is_a_failure(payload: bytes, reports: bool) -> None:
    assert isinstance(interpreted(payload, reports=reports), Failed)


@pytest.mark.parametrize("state", [b"{}", b"[]", b"0", b'""', b"false", b'{"a":{"b":[1.5]}}'])
def test_any_json_value_is_a_state(state: bytes) -> None:
    payload = b'{"state": %b}' % state
    assert interpreted(payload) == Succeeded()
    assert tumbling.settled(MINUTE, Answered(payload)) == Window(120, 180, state)


def test_a_state_in_an_answer_with_item_failures_is_passed_on() -> None:
    payload = b'{"state":{"n":1},"batchItemFailures":[{"itemIdentifier":"2"}]}'
    assert interpreted(payload) == PartlyFailed(frozenset({"2"}))
    assert tumbling.settled(MINUTE, Answered(payload)).state == b'{"n":1}'


def test_integers_of_any_length_and_half_surrogate_pairs_are_kept_in_the_state() -> None:
    state = b'{"sum":123456789012345678901234567890,"text":"\\ud83d"}'
    assert tumbling.settled(MINUTE, Answered(b'{"state":%b}' % state)).state == state


@pytest.mark.parametrize("number", ["0.1000000000000000000000000001", "12345678901234567.89", "1e999", "9" * 5000])
def test_numbers_keep_their_digits_in_the_state(number: str) -> None:
    """A decimal of C# or Java has more digits than a float, and a sum of money must not change between two calls."""
    state = b'{"sum":%b}' % number.encode()
    assert tumbling.settled(MINUTE, Answered(b'{"state":%b}' % state)).state == state


@pytest.mark.parametrize("levels", [255, *range(900, 1000)])
def test_a_deep_state_is_passed_on_or_is_no_state(levels: int) -> None:
    """The limit for reading an answer and the limit for writing it differ by a few levels."""
    state = b"[" * levels + b"]" * levels
    payload = b'{"state":%b}' % state
    if interpreted(payload, reports=False) == Succeeded():
        assert tumbling.settled(MINUTE, Answered(payload)).state == state
    else:
        assert levels > 255


def test_the_last_invocation_needs_no_state() -> None:
    assert interpreted(b"null", is_final=True) == Succeeded()


def test_an_outcome_without_an_answer_is_not_changed_by_the_window() -> None:
    failed = Failed("ValueError")
    assert tumbling.interpret(failed, FunctionError(error_type="ValueError", message=""), is_final=False) is failed
    postponed = Postponed("Throttled", None, True)
    assert tumbling.interpret(postponed, Throttled(reason="Throttled"), is_final=False) is postponed


def test_only_an_answer_with_a_state_settles_a_window() -> None:
    with pytest.raises(AssertionError):
        tumbling.settled(MINUTE, Answered(b"null"))
    with pytest.raises(AssertionError):
        tumbling.settled(MINUTE, FunctionError(error_type="E", message=""))


def test_a_state_above_one_megabyte_ends_its_window_early_and_the_window_goes_on_empty() -> None:
    largest = tumbling.settled(MINUTE, Answered(b'{"state":"%b"}' % (b"x" * (1_048_576 - 2))))
    assert not tumbling.must_end_early(largest)
    larger = tumbling.settled(MINUTE, Answered(b'{"state":"%b"}' % (b"x" * (1_048_576 - 1))))
    assert tumbling.must_end_early(larger)
    assert tumbling.continued(larger) == Window(120, 180, b"{}")


def test_records_have_the_room_that_the_largest_state_leaves() -> None:
    shard_id, arn = "shardId-000000000006", "arn:aws:kinesis:us-east-1:123456789012:stream/lambda-stream"
    room = tumbling.room_in_bytes(shard_id, arn)
    window = Window(1_607_497_440, 1_607_497_560, b'"%b"' % (b"x" * (tumbling.MAXIMUM_STATE_BYTES - 2)))
    event = window_event(
        [b"x" * room], shard_id=shard_id, arn=arn, window=window, is_final=False, is_terminated_early=False
    )
    assert len(event) == MAXIMUM_EVENT_BYTES
    assert tumbling.room_in_bytes(shard_id, arn, state_bytes=2) == room + tumbling.MAXIMUM_STATE_BYTES - 2


def test_a_window_goes_from_its_first_record_to_its_last_invocation() -> None:
    """Ten-second windows: the state goes from answer to event, and the next window begins with {}."""
    records = [Held(12.0), Held(19.0), Held(20.0)]
    window = tumbling.opened(records[0].arrived_at, 10)
    states = []
    for answer in (b'{"state":{"n":1}}', b'{"state":{"n":2}}'):
        states.append(orjson.loads(window.state))
        window = tumbling.settled(window, Answered(answer))
    states.append(orjson.loads(window.state))
    assert states == [{}, {"n": 1}, {"n": 2}]
    assert tumbling.closing(window, next_arrived_at=20.0, caught_up_at=None, is_shard_end=False) == "later record"
    assert tumbling.opened(20.0, 10) == Window(20, 30, b"{}")
