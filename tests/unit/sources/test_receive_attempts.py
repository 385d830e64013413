from __future__ import annotations

from poller.sources.receive_attempts import MAXIMUM_LOST_ATTEMPTS, REPEATABLE_FOR_SECONDS, ReceiveAttempts

QUEUE = "arn:aws:sqs:eu-west-1:000000000000:orders.fifo"


def test_every_attempt_has_its_own_id() -> None:
    attempts = [ReceiveAttempts(), ReceiveAttempts()]
    ids = {source.begin(QUEUE, 10, now=0).attempt_id for source in attempts for _ in range(3)}
    assert len(ids) == 6
    assert all(len(attempt_id) <= 128 for attempt_id in ids)


def test_a_lost_attempt_is_repeated_once() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(QUEUE, 10, now=0)
    attempts.lost(QUEUE, lost, now=0)
    assert attempts.begin(QUEUE, 10, now=1) == lost
    assert attempts.begin(QUEUE, 10, now=1) != lost


def test_a_lost_attempt_is_repeated_by_a_receive_of_at_least_as_many_messages() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(QUEUE, 5, now=0)
    attempts.lost(QUEUE, lost, now=0)
    assert attempts.begin(QUEUE, 4, now=1) != lost
    assert attempts.begin(QUEUE, 6, now=1) == lost


def test_an_attempt_that_is_lost_twice_is_valid_for_five_minutes_from_its_first_request() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(QUEUE, 10, now=0)
    attempts.lost(QUEUE, lost, now=0)
    again = attempts.begin(QUEUE, 10, now=REPEATABLE_FOR_SECONDS - 1)
    assert again == lost
    attempts.lost(QUEUE, again, now=0)
    assert attempts.begin(QUEUE, 10, now=REPEATABLE_FOR_SECONDS) != lost
    assert REPEATABLE_FOR_SECONDS < 300


def test_the_oldest_of_too_many_lost_attempts_is_forgotten() -> None:
    attempts = ReceiveAttempts()
    lost = [attempts.begin(QUEUE, 10, now=0) for _ in range(MAXIMUM_LOST_ATTEMPTS + 1)]
    for attempt in lost:
        attempts.lost(QUEUE, attempt, now=0)
    assert [attempts.begin(QUEUE, 10, now=1) for _ in range(MAXIMUM_LOST_ATTEMPTS)] == lost[1:]


def test_a_queue_repeats_only_its_own_attempts() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(QUEUE, 10, now=0)
    attempts.lost(QUEUE, lost, now=0)
    assert attempts.begin(f"other-{QUEUE}", 10, now=1) != lost
    assert attempts.begin(QUEUE, 10, now=1) == lost


def test_attempts_that_cannot_be_repeated_any_more_use_no_memory() -> None:
    attempts = ReceiveAttempts()
    for number in range(1_000):
        now = number * REPEATABLE_FOR_SECONDS
        attempts.lost(f"{number}-{QUEUE}", attempts.begin(QUEUE, 10, now=now), now=now)
    assert len(attempts._lost) == 1
