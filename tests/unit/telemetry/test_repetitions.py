"""May this line be written again?"""

from __future__ import annotations

from poller.telemetry.repetitions import MANY_KEYS, Repetitions

PAUSE_IN_SECONDS = 10.0


class Watch:
    """A clock that moves only when a test sets it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_the_first_line_is_written_at_once() -> None:
    assert Repetitions(Watch()).admit(("failed", "orders"), PAUSE_IN_SECONDS) == 0


def test_a_repeated_line_is_suppressed_during_the_pause_and_then_written_with_the_count() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS)
    watch.time += PAUSE_IN_SECONDS - 0.001
    assert [repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS) for _ in range(3)] == [None, None, None]
    watch.time += 0.001
    assert repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS) == 3


def test_a_line_that_is_written_again_begins_a_new_pause_with_a_new_count() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS)
    repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS)
    watch.time += PAUSE_IN_SECONDS
    repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS)
    assert repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS) is None
    watch.time += PAUSE_IN_SECONDS
    assert repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS) == 1


def test_keys_that_are_no_longer_used_are_forgotten() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    for shard in range(5 * MANY_KEYS):
        repetitions.admit(("shard_blocked", "clicks", str(shard)), PAUSE_IN_SECONDS)
        watch.time += PAUSE_IN_SECONDS / 10
        assert repetitions.admit(("shard_blocked", "clicks", str(shard)), PAUSE_IN_SECONDS) is None
    assert len(repetitions) <= MANY_KEYS


def test_lines_with_different_keys_do_not_suppress_each_other() -> None:
    repetitions = Repetitions(Watch())
    repetitions.admit(("failed", "orders"), PAUSE_IN_SECONDS)
    assert repetitions.admit(("failed", "invoices"), PAUSE_IN_SECONDS) == 0
