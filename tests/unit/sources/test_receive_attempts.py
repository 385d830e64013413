from __future__ import annotations

from poller.sources.receive_attempts import MAXIMUM_LOST_ATTEMPTS, REPEATABLE_FOR_SECONDS, ReceiveAttempts


def test_every_attempt_has_its_own_id() -> None:
    attempts = [ReceiveAttempts(), ReceiveAttempts()]
    ids = {source.begin(10, now=0).attempt_id for source in attempts for _ in range(3)}
    assert len(ids) == 6
    assert all(len(attempt_id) <= 128 for attempt_id in ids)


def test_a_lost_attempt_is_repeated_once() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(10, now=0)
    attempts.lost(lost)
    assert attempts.begin(10, now=1) == lost
    assert attempts.begin(10, now=1) != lost


def test_a_lost_attempt_is_repeated_by_a_receive_of_at_least_as_many_messages() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(5, now=0)
    attempts.lost(lost)
    assert attempts.begin(4, now=1) != lost
    assert attempts.begin(6, now=1) == lost


def test_an_attempt_that_is_lost_twice_is_valid_for_five_minutes_from_its_first_request() -> None:
    attempts = ReceiveAttempts()
    lost = attempts.begin(10, now=0)
    attempts.lost(lost)
    again = attempts.begin(10, now=REPEATABLE_FOR_SECONDS - 1)
    assert again == lost
    attempts.lost(again)
    assert attempts.begin(10, now=REPEATABLE_FOR_SECONDS) != lost
    assert REPEATABLE_FOR_SECONDS < 300


def test_the_oldest_of_too_many_lost_attempts_is_forgotten() -> None:
    attempts = ReceiveAttempts()
    lost = [attempts.begin(10, now=0) for _ in range(MAXIMUM_LOST_ATTEMPTS + 1)]
    for attempt in lost:
        attempts.lost(attempt)
    assert [attempts.begin(10, now=1) for _ in range(MAXIMUM_LOST_ATTEMPTS)] == lost[1:]
