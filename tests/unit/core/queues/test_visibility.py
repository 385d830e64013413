from __future__ import annotations

import pytest

from poller.core.queues.visibility import effective_visibility, seconds_until


@pytest.mark.parametrize(
    ("queue", "window", "function", "timeout", "is_fifo"),
    [
        (30, 0, 30, 30, False),
        (180, 0, 30, 180, False),
        (30, 5, 25, 30, False),
        (30, 5, 26, 61, False),
        (30, 300, 30, 360, False),
        (0, 0, 3, 33, False),
        (30, 0, 30.5, 61, False),
        (43_200, 300, 900, 43_200, False),
        (30, 0, 30, 60, True),  # or a function that begins late could run beside the next one, after a crash
        (36, 0, 30, 60, True),
        (37, 0, 30, 37, True),
        (43_195, 0, 43_190, 43_200, True),
        (30, 0, 900, 930, True),
        (30, 0, 42_000, 42_030, True),
        (40_000, 0, 42_000, 42_030, True),
        (0, 0, 43_200, 43_200, True),
        (30, 0, 42_000, 1_230, False),
        (30, 300, 900, 1_230, False),
        (2_000, 0, 42_000, 2_000, False),
    ],
)
def test_the_visibility_timeout_is_the_queues_unless_window_and_function_need_more(
    queue: int, window: int, function: float, timeout: int, is_fifo: bool
) -> None:
    visibility = effective_visibility(
        queue_timeout_in_seconds=queue, window_in_seconds=window, function_timeout_in_seconds=function, is_fifo=is_fifo
    )
    assert visibility.timeout_in_seconds == timeout
    assert visibility.queue_timeout_in_seconds == queue
    assert (visibility.advice is None) == (window + function <= queue)


def test_the_advice_names_the_numbers() -> None:
    visibility = effective_visibility(
        queue_timeout_in_seconds=30, window_in_seconds=5, function_timeout_in_seconds=60, is_fifo=False
    )
    assert visibility.advice is not None
    for number in ("30 s", "65 s", "95 s"):
        assert number in visibility.advice


@pytest.mark.parametrize(
    ("shown_at", "longest_until", "seconds"),
    [
        (130.0, 43_000.0, 30),
        (129.1, 43_000.0, 30),
        (100.0, 43_000.0, 0),
        (20.0, 43_000.0, 0),
        (43_200.0, 43_000.9, 42_900),
        (130.0, 99.0, 0),
    ],
)
def test_a_message_is_never_shown_early_nor_hidden_beyond_twelve_hours(
    shown_at: float, longest_until: float, seconds: int
) -> None:
    assert seconds_until(shown_at, longest_until=longest_until, now=100.0) == seconds
