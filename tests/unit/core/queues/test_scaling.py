from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.queues.scaling import Concurrency, PollScaling


def test_full_receives_add_polls_up_to_the_ceiling() -> None:
    polls = PollScaling(ceiling=3)
    wanted = []
    for _ in range(4):
        polls.received(10, asked=10)
        wanted.append(polls.wanted)
    assert wanted == [2, 3, 3, 3]


def test_empty_receives_bring_the_polls_back_to_one() -> None:
    polls = PollScaling(ceiling=100)
    for _ in range(15):
        polls.received(1, asked=1)
    wanted = [polls.wanted]
    for _ in range(5):
        polls.received(0, asked=1)
        wanted.append(polls.wanted)
    assert wanted == [16, 8, 4, 2, 1, 1]


def test_a_receive_that_is_neither_full_nor_empty_changes_nothing() -> None:
    polls = PollScaling(ceiling=100)
    polls.received(10, asked=10)
    polls.received(4, asked=10)
    assert polls.wanted == 2


def test_a_failing_source_is_polled_by_one_poll_at_a_time() -> None:
    polls = PollScaling(ceiling=100)
    polls.received(10, asked=10)
    polls.failed()
    assert polls.wanted == 1


def test_a_failure_halves_the_concurrency_in_use() -> None:
    concurrency = Concurrency(ceiling=1000)
    concurrency.failed(concurrency.begin(), in_use=10)
    assert concurrency.limit == 5


def test_failures_of_simultaneous_batches_halve_the_limit_once() -> None:
    concurrency = Concurrency(ceiling=16)
    begun = [concurrency.begin() for _ in range(16)]
    for batch in begun:
        concurrency.failed(batch, in_use=16)
    assert concurrency.limit == 8


def test_one_batch_is_always_allowed() -> None:
    concurrency = Concurrency(ceiling=4)
    for _ in range(10):
        concurrency.failed(concurrency.begin(), in_use=1)
    assert concurrency.limit == 1


def test_each_success_raises_the_limit_by_one() -> None:
    concurrency = Concurrency(ceiling=4)
    concurrency.failed(concurrency.begin(), in_use=4)
    limits = []
    for _ in range(3):
        concurrency.succeeded()
        limits.append(concurrency.limit)
    assert limits == [3, 4, 4]


@given(st.integers(1, 50), st.lists(st.tuples(st.booleans(), st.integers(1, 50))))
def test_the_limit_stays_between_one_and_the_ceiling(ceiling: int, steps: list[tuple[bool, int]]) -> None:
    concurrency = Concurrency(ceiling=ceiling)
    for is_success, in_use in steps:
        before, begun = concurrency.limit, concurrency.begin()
        if is_success:
            concurrency.succeeded()
            assert before <= concurrency.limit <= before + 1
        else:
            concurrency.failed(begun, in_use=in_use)
            assert concurrency.limit <= max(1, before // 2)
        assert 1 <= concurrency.limit <= ceiling
