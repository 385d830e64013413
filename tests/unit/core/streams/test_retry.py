from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from poller.core.backoff import STREAM_RETRY
from poller.core.streams.retry import Delivery, Discard, Invoke, RetryPolicy, Settle, Step, Wait
from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Throttled
from poller.model.mapping import StreamMapping
from poller.model.order import Action
from poller.model.outcome import Failed, PartlyFailed, Postponed, Succeeded
from poller.model.stream import Latest, SequenceNumber

RAISED = FunctionError(error_type="ValueError", message="no")
FAILED = Failed("ValueError")
OK = Answered(b"null")


class Held(NamedTuple):
    sequence_number: SequenceNumber
    arrived_at: float
    encoded: bytes = b"{}"


def delivery_of(*arrivals: float, policy: RetryPolicy, now: float = 0.0) -> Delivery[Held]:
    records = [Held(SequenceNumber(str(number)), at) for number, at in enumerate(arrivals)]
    return Delivery(
        records, policy=policy, new_request_id=lambda: RequestId("id"), randomness=random.Random(1), now=now
    )


def seconds_of(step: Step[Held] | None) -> float:
    assert isinstance(step, Wait)
    return step.seconds


def test_the_limits_come_from_the_mapping() -> None:
    mapping = StreamMapping(
        name=MappingName("m"),
        event_source_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/s"),
        function_name=FunctionName("f"),
        starting_position=Latest(),
        region="eu-west-1",
        uuid="u",
        maximum_retry_attempts=3,
        maximum_record_age_in_seconds=60,
        bisect_batch_on_function_error=True,
    )
    assert RetryPolicy.of(mapping) == RetryPolicy(
        maximum_retry_attempts=3, maximum_record_age_in_seconds=60, bisects=True
    )


def test_the_pauses_between_retries_grow_to_their_limit() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    waits = []
    for _ in range(12):
        assert isinstance(delivery.step(0.0), Invoke)
        delivery.answered(FAILED, RAISED, now=0.0)
        waits.append(seconds_of(delivery.step(0.0)))
    assert 0.25 <= waits[0] <= 0.5
    assert waits[3] > 1.9
    assert STREAM_RETRY.maximum / 2 <= waits[-1] <= STREAM_RETRY.maximum


def test_a_throttled_batch_waits_as_long_as_the_function_asks() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.answered(Postponed("Throttled", 17.0, True), Throttled(reason="Throttled", retry_after=17.0), now=0.0)
    step = delivery.step(0.0)
    assert step == Wait(17.0, "Throttled")


def test_after_the_function_was_reached_the_pauses_of_throttles_begin_at_the_shortest() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    postponed = Postponed("Throttled", None, True)
    for _ in range(10):
        delivery.step(0.0)
        delivery.answered(postponed, Throttled(reason="Throttled"), now=0.0)
        long = seconds_of(delivery.step(0.0))
    delivery.step(0.0)
    delivery.answered(FAILED, RAISED, now=0.0)
    delivery.step(0.0)
    delivery.step(0.0)
    delivery.answered(postponed, Throttled(reason="Throttled"), now=0.0)
    assert seconds_of(delivery.step(0.0)) <= 0.2 < long


def test_an_answer_reports_a_bisection_or_the_pause_before_a_retry() -> None:
    delivery = delivery_of(0.0, 0.0, policy=RetryPolicy(maximum_retry_attempts=1, bisects=True))
    delivery.step(0.0)
    assert delivery.answered(FAILED, RAISED, now=0.0)
    assert delivery.pause is None, "new parts are tried at once"
    delivery.step(0.0)
    assert not delivery.answered(FAILED, RAISED, now=0.0)
    assert delivery.pause == delivery.step(0.0)
    delivery.step(0.0)
    assert not delivery.answered(FAILED, RAISED, now=0.0)
    assert delivery.pause is None, "what is given up goes not again"


def test_expired_records_are_discarded_up_to_the_first_younger_one() -> None:
    policy = RetryPolicy(maximum_record_age_in_seconds=60)
    delivery = delivery_of(30.0, 30.0, 50.0, 30.0, policy=policy)
    discard = delivery.step(100.0)
    assert isinstance(discard, Discard)
    assert [record.sequence_number for record in discard.records] == ["0", "1"]
    invoke = delivery.step(100.0)
    assert isinstance(invoke, Invoke)
    assert [record.sequence_number for record in invoke.records] == ["2", "3"]


def test_a_retry_keeps_the_last_answer_for_the_invocation_record() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy(maximum_retry_attempts=0))
    delivery.step(0.0)
    delivery.answered(FAILED, RAISED, now=0.0)
    discard = delivery.step(0.0)
    assert isinstance(discard, Discard)
    assert discard.response is RAISED
    assert delivery.step(0.0) is None


def test_the_last_invocation_of_a_window_has_no_records_and_is_retried_like_any_other() -> None:
    delivery = delivery_of(policy=RetryPolicy(maximum_retry_attempts=1))
    for _ in range(2):
        assert isinstance(delivery.step(0.0), Invoke)
        delivery.answered(FAILED, RAISED, now=0.0)
        last = delivery.step(0.0)
    assert last == Discard([], RequestId("id"), "RetryAttemptsExhausted", 2, RAISED)
    assert delivery.step(0.0) is None


def test_the_last_invocation_of_a_window_ages_from_when_it_became_due() -> None:
    delivery = delivery_of(policy=RetryPolicy(maximum_record_age_in_seconds=60), now=1000.0)
    assert isinstance(delivery.step(1059.9), Invoke)
    delivery.answered(FAILED, RAISED, now=1059.9)
    assert delivery.step(1060.0) == Discard([], RequestId("id"), "RecordAgeExceeded", 1, None)
    assert delivery.step(1060.0) is None


def test_a_window_whose_last_invocation_succeeded_is_settled() -> None:
    delivery = delivery_of(policy=RetryPolicy())
    delivery.step(0.0)
    delivery.answered(Succeeded(), OK, now=0.0)
    assert delivery.step(0.0) == Settle([], OK)
    assert delivery.step(0.0) is None


def test_a_step_while_an_invocation_runs_is_a_fault_of_poller() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    delivery.step(0.0)
    with pytest.raises(AssertionError):
        delivery.step(0.0)


def test_an_answer_without_an_invocation_is_a_fault_of_poller() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    with pytest.raises(AssertionError):
        delivery.answered(Succeeded(), OK, now=0.0)


def test_an_invocation_whose_first_records_expire_meanwhile_is_withdrawn_and_they_are_discarded() -> None:
    delivery = delivery_of(0.0, 30.0, policy=RetryPolicy(maximum_record_age_in_seconds=60))
    assert isinstance(delivery.step(59.0), Invoke)
    assert delivery.withdraw_if_void(61.0)
    discard = delivery.step(61.0)
    assert isinstance(discard, Discard)
    assert ([record.sequence_number for record in discard.records], discard.invoke_count) == (["0"], 1)
    invoke = delivery.step(61.0)
    assert isinstance(invoke, Invoke)
    assert [record.sequence_number for record in invoke.records] == ["1"]


def test_an_invocation_in_time_is_not_withdrawn() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy(maximum_record_age_in_seconds=60))
    delivery.step(0.0)
    assert not delivery.withdraw_if_void(59.9)
    delivery.answered(Succeeded(), OK, now=59.9)
    assert isinstance(delivery.step(70.0), Settle)


def test_only_an_invocation_can_be_withdrawn() -> None:
    with pytest.raises(AssertionError):
        delivery_of(0.0, policy=RetryPolicy()).withdraw_if_void(0.0)


def alone(size: int, *, room_in_bytes: int) -> Delivery[Held]:
    return Delivery(
        [Held(SequenceNumber("0"), 0.0, b"x" * size)],
        policy=RetryPolicy(maximum_retry_attempts=0),
        new_request_id=lambda: RequestId("id"),
        randomness=random.Random(1),
        now=0.0,
        room_in_bytes=room_in_bytes,
    )


def test_a_record_that_does_not_fit_beside_the_state_is_too_large() -> None:
    discard = alone(101, room_in_bytes=100).step(0.0)
    assert isinstance(discard, Discard)
    assert (discard.condition, discard.response) == ("RetryAttemptsExhausted", None)


def test_a_record_that_just_fits_is_invoked() -> None:
    assert isinstance(alone(100, room_in_bytes=100).step(0.0), Invoke)


def test_a_record_that_is_too_large_is_invoked_if_others_are_in_its_batch() -> None:
    """It is invoked with the others, so that none of them is discarded with it."""
    records = [Held(SequenceNumber("0"), 0.0, b"x" * 11), Held(SequenceNumber("1"), 0.0)]
    delivery = Delivery(
        records,
        policy=RetryPolicy(maximum_retry_attempts=0),
        new_request_id=lambda: RequestId("id"),
        randomness=random.Random(1),
        now=0.0,
        room_in_bytes=10,
    )
    step = delivery.step(0.0)
    assert isinstance(step, Invoke)
    assert step.records == records


def failed_once(*arrivals: float, policy: RetryPolicy) -> Delivery[Held]:
    """Return a delivery whose batch has failed once. The next step would be a wait."""
    delivery = delivery_of(*arrivals, policy=policy)
    delivery.step(0.0)
    delivery.answered(Failed("KeyError"), RAISED, now=0.0)
    return delivery


def test_a_retry_that_a_person_orders_comes_without_a_wait_and_counts_as_an_attempt() -> None:
    delivery = failed_once(0.0, 0.0, policy=RetryPolicy(maximum_retry_attempts=1))
    delivery.order("retry")
    invoke = delivery.step(0.0)
    assert isinstance(invoke, Invoke)
    assert (numbers(invoke), invoke.attempt) == (["0", "1"], 2)
    delivery.answered(Failed("KeyError"), RAISED, now=0.0)
    assert isinstance(delivery.step(0.0), Discard)


def test_a_person_can_bisect_a_batch_of_a_mapping_that_does_not_bisect() -> None:
    delivery = failed_once(0.0, 0.0, 0.0, policy=RetryPolicy())
    delivery.order("bisect")
    for expected in (["0"], ["1", "2"]):
        invoke = delivery.step(0.0)
        assert isinstance(invoke, Invoke)
        assert (numbers(invoke), invoke.attempt) == (expected, 1)
        delivery.answered(Succeeded(), OK, now=0.0)
        assert isinstance(delivery.step(0.0), Settle)
    assert delivery.step(0.0) is None


def test_a_batch_that_a_person_discards_is_reported_with_its_own_condition_and_last_response() -> None:
    delivery = failed_once(0.0, 0.0, policy=RetryPolicy())
    delivery.order("discard")
    discard = delivery.step(0.0)
    assert isinstance(discard, Discard)
    assert numbers(discard) == ["0", "1"]
    assert (discard.condition, discard.invoke_count, discard.response) == ("DiscardedByRequest", 1, RAISED)
    assert delivery.step(0.0) is None


def test_a_person_discards_the_whole_batch_even_if_its_first_record_is_too_old() -> None:
    delivery = failed_once(0.0, 50.0, policy=RetryPolicy(maximum_record_age_in_seconds=60))
    delivery.order("discard")
    discard = delivery.step(70.0)
    assert isinstance(discard, Discard)
    assert (numbers(discard), discard.condition) == (["0", "1"], "DiscardedByRequest")


def test_an_order_during_an_invocation_is_obeyed_after_a_failure() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.order("discard")
    delivery.answered(Failed("KeyError"), RAISED, now=0.0)
    assert isinstance(delivery.step(0.0), Discard)


def test_an_order_during_an_invocation_lapses_after_a_success() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.order("discard")
    delivery.answered(Succeeded(), OK, now=0.0)
    assert isinstance(delivery.step(0.0), Settle)
    assert delivery.step(0.0) is None


def test_an_order_during_an_invocation_lapses_if_a_part_of_the_batch_succeeds() -> None:
    delivery = delivery_of(0.0, 0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.order("discard")
    delivery.answered(PartlyFailed(frozenset({"1"})), OK, now=0.0)
    assert isinstance(delivery.step(0.0), Settle)
    invoke = delivery.step(0.0)
    assert isinstance(invoke, Invoke)
    assert numbers(invoke) == ["1"]


@pytest.mark.parametrize("action", ["bisect", "discard"])
def test_an_invocation_is_withdrawn_if_a_person_orders_another_step_before_the_call(action: Action) -> None:
    delivery = delivery_of(0.0, 0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.order(action)
    assert delivery.withdraw_if_void(0.0)
    step = delivery.step(0.0)
    assert isinstance(step, Invoke if action == "bisect" else Discard)
    assert numbers(step) == (["0"] if action == "bisect" else ["0", "1"])


def test_a_retry_that_a_person_orders_before_the_call_withdraws_nothing() -> None:
    delivery = delivery_of(0.0, policy=RetryPolicy())
    delivery.step(0.0)
    delivery.order("retry")
    assert not delivery.withdraw_if_void(0.0)


def test_a_batch_without_two_records_cannot_be_bisected() -> None:
    assert delivery_of(0.0, policy=RetryPolicy()).denial("bisect") == ("the batch has one record, so it has no halves")
    assert delivery_of(policy=RetryPolicy()).denial("bisect") == "the batch has no records"


def test_a_record_that_is_larger_than_any_event_can_be_discarded_but_not_retried() -> None:
    delivery = Delivery(
        [Held(SequenceNumber("0"), 0.0)],
        policy=RetryPolicy(),
        new_request_id=lambda: RequestId("id"),
        randomness=random.Random(1),
        now=0.0,
        room_in_bytes=1,
    )
    assert isinstance(delivery.step(0.0), Wait)
    assert delivery.denial("retry") == "the record is larger than any event, so no retry can succeed"
    delivery.order("discard")
    assert isinstance(delivery.step(0.0), Discard)


def numbers(step: Invoke[Held] | Discard[Held]) -> list[str]:
    return [record.sequence_number for record in step.records]
