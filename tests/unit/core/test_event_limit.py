from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from poller.core.batching import EMPTY_EVENT_BYTES, MAXIMUM_EVENT_BYTES, BatchBuilder
from poller.core.event_limit import FORGOTTEN_AFTER_IN_SECONDS, EventLimit


def test_lambdas_limit_holds_until_an_event_is_rejected() -> None:
    assert EventLimit().in_bytes(0.0) == MAXIMUM_EVENT_BYTES
    assert EventLimit().in_bytes(1e9) == MAXIMUM_EVENT_BYTES


def test_a_rejected_event_halves_only_the_room_for_records() -> None:
    limit = EventLimit()
    limit.refused(1_000_000, empty_bytes=600_000, now=0.0)
    assert limit.in_bytes(0.0) == 800_000


def test_a_late_rejection_of_an_earlier_event_does_not_raise_the_limit() -> None:
    limit = EventLimit()
    limit.refused(1_000, empty_bytes=0, now=0.0)
    limit.refused(4_000, empty_bytes=0, now=1.0)
    assert limit.in_bytes(1.0) == 500


def test_a_limit_is_forgotten_some_time_after_the_last_rejected_event() -> None:
    limit = EventLimit()
    limit.refused(1_000, empty_bytes=0, now=5.0)
    limit.refused(4_000, empty_bytes=0, now=300.0)  # it teaches nothing
    forgotten_at = 5.0 + FORGOTTEN_AFTER_IN_SECONDS
    assert limit.in_bytes(forgotten_at - 0.1) == 500
    assert limit.in_bytes(forgotten_at) == MAXIMUM_EVENT_BYTES
    limit.refused(4_000, empty_bytes=0, now=forgotten_at)
    assert limit.in_bytes(forgotten_at) == 2_000, "and it is learnt anew"


@given(st.lists(st.integers(1, 400), min_size=1, max_size=300), st.integers(400, 5_000), st.integers(2, 300))
def test_the_rejected_events_of_one_batch_set_a_limit_for_all_later_batches(
    sizes: list[int], room: int, batch_size: int
) -> None:
    """The rule is tried with a service that has a limit: batches are packed, sent, and split if they are rejected."""
    service = EMPTY_EVENT_BYTES + room
    limit = EventLimit()
    delivered: list[int] = []
    cut: list[list[int]] = []
    for packed in _packed(sizes, limit, batch_size):
        in_hand = [packed]
        while in_hand:
            batch = in_hand.pop()
            event_bytes = EMPTY_EVENT_BYTES + sum(batch) + len(batch) - 1
            if event_bytes <= service:
                delivered += batch
                continue
            if batch is packed:
                cut.append(packed)
            limit.refused(event_bytes, empty_bytes=EMPTY_EVENT_BYTES, now=0.0)
            middle = len(batch) // 2
            in_hand += [batch[middle:], batch[:middle]]
            assert limit.in_bytes(0.0) > service // 2, "no less than what is needed is used"
    assert delivered == sizes, "in order, and each once"
    assert len(cut) <= 1


def _packed(sizes: list[int], limit: EventLimit, batch_size: int) -> Iterator[list[int]]:
    pending = deque(sizes)
    while pending:
        builder = BatchBuilder(batch_size=batch_size, limit_in_bytes=limit.in_bytes(0.0))
        count = builder.fill(pending, now=0.0)
        assert count > 0, "no batch is without records"
        yield [pending.popleft() for _ in range(count)]
