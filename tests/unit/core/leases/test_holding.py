from __future__ import annotations

from dataclasses import replace

import pytest

from poller.core.leases.holding import Held
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardEnd, TrimHorizon

ME = Owner("blue-1/aa")
OTHER = Owner("blue-2/bb")


def after(number: int) -> Checkpoint:
    return Checkpoint(AfterSequence(SequenceNumber(str(number))))


FREE = Row(
    key=RowKey("orders/arn:stream/shard-1"),
    counter=7,
    owner=None,
    token=3,
    checkpoint=after(10),
    details={"unknown": "kept"},
)


@pytest.fixture
def taken() -> Held:
    """Return a lease that was taken at 100, with a deadline at 108."""
    held = Held(FREE, ME, lease_duration=10)
    held.take(100)
    held.accepted(101)
    return held


def test_the_token_is_the_counter_after_the_take() -> None:
    held = Held(FREE, ME)
    assert held.take(100) == replace(FREE, counter=8, owner=ME, token=8)
    held.accepted(101)
    assert held.renewal(102) == replace(FREE, counter=9, owner=ME, token=8)


def test_a_take_removes_since_when_the_worker_before_has_read_the_shard() -> None:
    held = Held(replace(FREE, details={**FREE.details, "read_since": 5.0}), ME)
    assert held.take(100).details == FREE.details
    held.accepted(101)
    held.note({"read_since": 102.0})
    assert held.renewal(102).details == {**FREE.details, "read_since": 102.0}


def test_a_lease_may_deliver_until_a_part_of_its_duration_after_the_sending() -> None:
    held = Held(FREE, ME, lease_duration=10)
    assert not held.may_begin(100)
    held.take(100)
    assert not held.may_begin(100)
    held.accepted(105)
    assert held.deadline == 108
    assert held.may_begin(107.9)
    assert not held.may_begin(108)


def test_a_renewal_moves_the_deadline_once_it_is_accepted(taken: Held) -> None:
    assert taken.renew_at == pytest.approx(103.33, abs=0.01)
    taken.renewal(104)
    assert taken.is_writing
    assert taken.deadline == 108
    taken.accepted(105)
    assert not taken.is_writing
    assert taken.deadline == 112
    assert taken.renew_at == pytest.approx(107.33, abs=0.01)


def test_a_lease_that_reached_its_deadline_is_lost_for_good(taken: Held) -> None:
    taken.renewal(104)
    assert taken.end(107.9) is None
    taken.accepted(108)
    assert taken.end(108) == "lost"
    assert not taken.may_begin(104)
    with pytest.raises(AssertionError, match="not held any more"):
        taken.renewal(108)


def test_an_answer_to_a_take_that_comes_after_the_deadline_gives_no_lease() -> None:
    held = Held(FREE, ME, lease_duration=10)
    held.take(100)
    held.accepted(108)
    assert not held.may_begin(108)
    assert held.end(108) == "lost"


def test_a_renewal_stores_the_last_checkpoint_and_keeps_unknown_details(taken: Held) -> None:
    taken.move(after(20))
    taken.move(after(20))
    taken.note({"bytes_per_second": 5.0})
    assert not taken.is_stored
    row = taken.renewal(104)
    assert row.checkpoint == after(20)
    assert row.details == {"unknown": "kept", "bytes_per_second": 5.0}
    assert not taken.is_stored
    taken.accepted(105)
    assert taken.is_stored
    assert taken.row == row


def test_a_checkpoint_that_moves_during_a_write_is_stored_by_the_next_one(taken: Held) -> None:
    taken.move(after(20))
    taken.renewal(104)
    taken.move(after(30))
    taken.accepted(105)
    assert not taken.is_stored
    assert taken.renewal(105).checkpoint == after(30)


def test_a_checkpoint_never_moves_back(taken: Held) -> None:
    with pytest.raises(AssertionError, match="moved back"):
        taken.move(Checkpoint(TrimHorizon()))


def test_two_writes_of_a_lease_are_never_under_way_at_once(taken: Held) -> None:
    taken.renewal(104)
    with pytest.raises(AssertionError, match="under way"):
        taken.renewal(104)


def test_a_lost_answer_to_a_renewal_that_was_stored_costs_no_lease(taken: Held) -> None:
    stored = taken.renewal(104)
    taken.found(stored, 105)
    assert taken.end(105) is None
    assert taken.deadline == 108, "a read moves no deadline"
    assert taken.renew_at == 105
    assert taken.renewal(105).counter == stored.counter + 1
    taken.accepted(106)
    assert taken.deadline == 113


def test_a_lost_answer_to_a_renewal_that_was_not_stored_costs_no_lease(taken: Held) -> None:
    before = taken.row
    taken.move(after(20))
    taken.renewal(104)
    taken.found(before, 105)
    assert taken.may_begin(105)
    assert taken.renewal(105) == replace(before, counter=before.counter + 1, checkpoint=after(20))


def test_a_renewal_that_arrives_late_does_no_harm(taken: Held) -> None:
    """The first renewal arrives after the row was read, so the table rejects the second one."""
    before = taken.row
    taken.move(after(20))
    late = taken.renewal(104)
    taken.found(before, 105)
    taken.move(after(30))
    taken.renewal(105)
    taken.found(late, 106)
    assert taken.may_begin(106)
    assert taken.renewal(106) == replace(late, counter=late.counter + 1, checkpoint=after(30))


def test_a_lost_answer_to_a_take_lets_the_worker_begin_only_after_a_renewal() -> None:
    held = Held(FREE, ME, lease_duration=10)
    stored = held.take(100)
    held.found(stored, 150)
    assert held.end(150) is None
    assert not held.may_begin(150)
    assert held.renew_at == 150
    held.renewal(150)
    held.accepted(151)
    assert held.may_begin(151)
    assert held.token == stored.token


@pytest.mark.parametrize(
    "found",
    [
        None,
        FREE,
        replace(FREE, counter=8, owner=OTHER, token=8),
        replace(FREE, counter=8, owner=None, token=8),
        replace(FREE, counter=9, owner=ME, token=9),
        replace(FREE, counter=9, owner=ME, token=8, checkpoint=after(9)),
        replace(FREE, counter=9, owner=ME, token=8, checkpoint=after(11)),
        replace(FREE, counter=9, owner=ME, token=8, checkpoint=None),
    ],
    ids=["deleted", "old", "another owner", "no owner", "another token", "moved back", "moved on", "no checkpoint"],
)
def test_a_row_that_is_not_its_own_ends_the_lease(taken: Held, found: Row | None) -> None:
    taken.renewal(104)
    taken.found(found, 105)
    assert taken.end(105) == "lost"
    assert not taken.may_begin(105)


def test_the_write_that_gives_a_lease_away_stores_the_last_checkpoint(taken: Held) -> None:
    taken.move(after(20))
    row = taken.give_away(104)
    assert row == replace(FREE, counter=9, owner=None, token=8, checkpoint=after(20))
    taken.accepted(105)
    assert taken.end(105) == "given away"
    assert taken.row == row


def test_a_worker_that_has_sent_its_lease_away_delivers_nothing_more(taken: Held) -> None:
    """The write may arrive late, and then another worker takes the lease at once."""
    before = taken.row
    taken.give_away(104)
    assert not taken.may_begin(104)
    taken.found(before, 105)
    assert taken.end(105) is None
    assert not taken.may_begin(105)
    with pytest.raises(AssertionError, match="given away"):
        taken.move(after(20))
    with pytest.raises(AssertionError, match="given away"):
        taken.renewal(105)
    assert taken.give_away(105).owner is None


def test_a_lost_answer_to_a_hand_over_that_was_stored_ends_the_lease(taken: Held) -> None:
    taken.found(taken.give_away(104), 105)
    assert taken.end(105) == "given away"


def test_a_lease_that_was_given_away_is_never_renewed_again(taken: Held) -> None:
    taken.give_away(104)
    taken.accepted(104)
    assert taken.end(200) == "given away"
    with pytest.raises(AssertionError, match="not held any more"):
        taken.give_away(105)


def test_a_hand_over_that_is_accepted_after_the_deadline_is_a_hand_over(taken: Held) -> None:
    taken.give_away(107)
    taken.accepted(109)
    assert taken.end(109) == "given away"


def test_the_end_of_a_shard_is_stored_with_its_hand_over(taken: Held) -> None:
    taken.move(Checkpoint(ShardEnd()))
    assert taken.give_away(104).checkpoint == Checkpoint(ShardEnd())


def test_a_unit_of_concurrency_has_no_checkpoint() -> None:
    held = Held(Row(key=RowKey(":unit/resize/0")), ME)
    stored = held.take(100)
    assert stored.checkpoint is None
    held.found(stored, 101)
    held.renewal(101)
    held.accepted(102)
    assert held.may_begin(102)
    assert held.is_stored
