"""May this line be said again?"""

from __future__ import annotations

from poller.telemetry.repetitions import MANY_KEYS, PAUSE_IN_SECONDS, Repetitions


class Watch:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def test_the_first_line_is_said_at_once() -> None:
    assert Repetitions(Watch()).admit("failed", "orders") == 0


def test_a_repeated_line_is_kept_back_during_the_pause_and_then_said_with_the_count() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    repetitions.admit("failed", "orders")
    watch.time += PAUSE_IN_SECONDS - 0.001
    assert [repetitions.admit("failed", "orders") for _ in range(3)] == [None, None, None]
    watch.time += 0.001
    assert repetitions.admit("failed", "orders") == 3


def test_a_line_said_again_begins_a_new_pause_with_a_new_count() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    repetitions.admit("failed", "orders")
    repetitions.admit("failed", "orders")
    watch.time += PAUSE_IN_SECONDS
    repetitions.admit("failed", "orders")
    assert repetitions.admit("failed", "orders") is None
    watch.time += PAUSE_IN_SECONDS
    assert repetitions.admit("failed", "orders") == 1


def test_keys_that_come_and_go_do_not_pile_up() -> None:
    watch = Watch()
    repetitions = Repetitions(watch)
    for shard in range(5 * MANY_KEYS):
        repetitions.admit("shard_blocked", "clicks", str(shard))
        watch.time += PAUSE_IN_SECONDS / 10
        assert repetitions.admit("shard_blocked", "clicks", str(shard)) is None
    assert len(repetitions) <= MANY_KEYS


def test_one_mapping_does_not_silence_another() -> None:
    repetitions = Repetitions(Watch())
    repetitions.admit("failed", "orders")
    assert repetitions.admit("failed", "invoices") == 0


def test_what_is_forgotten_of_one_owner_leaves_no_count_and_no_other_owner_speaks() -> None:
    repetitions = Repetitions(Watch())
    for _ in range(3):
        repetitions.admit("failed", "orders", "KeyError")
        repetitions.admit("failed", "invoices", "KeyError")
    repetitions.forget("orders")
    assert repetitions.admit("failed", "orders", "KeyError") == 0
    assert repetitions.admit("failed", "invoices", "KeyError") is None
