from __future__ import annotations

from math import inf

import pytest

from poller.core.leases.expiry import Lost, Observed
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardEnd

ME = Owner("blue-1/aa")
OTHER = Owner("blue-2/bb")
KEY = RowKey("orders/arn:stream/shard-1")
CHECKPOINT = Checkpoint(AfterSequence(SequenceNumber("7")))
NOTHING: frozenset[RowKey] = frozenset()


def lease(counter: int, owner: Owner | None = OTHER, *, token: int = 1, checkpoint: Checkpoint = CHECKPOINT) -> Row:
    return Row(key=KEY, counter=counter, owner=owner, token=token, checkpoint=checkpoint)


def worker(heartbeat: int, *, counter: int = 1, owner: Owner = OTHER) -> Row:
    return Row(key=RowKey(f":worker/{owner}"), counter=counter, owner=owner, details={"heartbeat": heartbeat})


@pytest.fixture
def observed() -> Observed:
    return Observed(ME, lease_duration=10)


def test_a_lease_whose_counter_does_not_move_expires_after_the_lease_duration(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.scanned([lease(5)], now=106)
    assert observed.next_expiry([KEY], now=106) == 110
    assert not observed.may_take(KEY, now=109.9, held=NOTHING)
    assert observed.may_take(KEY, now=110, held=NOTHING)
    assert observed.next_expiry([KEY], now=110) is None


@pytest.mark.parametrize(
    "renewed",
    [lease(6), lease(5, token=5), lease(5, Owner("blue-3/cc"))],
    ids=["renewed", "created again", "created again by another worker"],
)
def test_a_lease_that_changes_does_not_expire(observed: Observed, renewed: Row) -> None:
    observed.scanned([lease(5)], now=100)
    observed.scanned([renewed], now=109)
    observed.scanned([renewed], now=115)
    assert not observed.may_take(KEY, now=118.9, held=NOTHING)
    assert observed.may_take(KEY, now=119, held=NOTHING)


def test_a_worker_that_wakes_up_takes_no_lease_before_it_has_seen_it_again(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    assert not observed.may_take(KEY, now=1000, held=NOTHING)
    assert observed.next_expiry([KEY], now=101) is None
    observed.saw(lease(5), now=1000)
    assert observed.may_take(KEY, now=1000, held=NOTHING)


def test_a_lease_without_an_owner_is_free_at_once(observed: Observed) -> None:
    observed.scanned([lease(5, None)], now=100)
    assert observed.may_take(KEY, now=100, held=NOTHING)


def test_the_next_expiry_is_the_first_one_of_the_wanted_leases(observed: Observed) -> None:
    first, second, unwanted, unseen = (RowKey(f"orders/arn:stream/{number}") for number in range(4))
    for key, at in ((unwanted, 100), (second, 103), (first, 101)):
        observed.saw(Row(key=key, counter=5, owner=OTHER), now=at)
    for key in (first, second, unwanted):
        observed.saw(Row(key=key, counter=5, owner=OTHER), now=109)
    assert observed.next_expiry([second, first, unseen], now=109) == 111
    assert observed.next_expiry([second, first, unseen], now=111) == 113
    assert observed.next_expiry([unseen], now=109) is None


@pytest.mark.parametrize("owner", [None, ME])
def test_a_lease_that_nobody_holds_is_free_at_the_moment_when_it_was_seen(
    observed: Observed, owner: Owner | None
) -> None:
    observed.saw(lease(5, owner), now=101)
    assert observed.next_expiry([KEY], now=100) == 101
    assert observed.next_expiry([KEY], now=101) is None


def test_a_lease_is_late_if_it_was_free_and_wanted_for_the_lease_duration(observed: Observed) -> None:
    assert not observed.is_late(KEY, 0, now=1000)
    observed.scanned([lease(5, None)], now=100)
    assert not observed.is_late(KEY, 95, now=109.9)
    assert observed.is_late(KEY, 95, now=110)
    assert not observed.is_late(KEY, 105, now=114.9)
    assert observed.is_late(KEY, 105, now=115)


def test_a_worker_takes_its_own_lease_again_that_it_does_not_hold(observed: Observed) -> None:
    """The worker may believe that it has lost the lease, while the table names it as the owner."""
    observed.scanned([lease(5, ME)], now=100)
    assert observed.may_take(KEY, now=100, held=NOTHING)
    assert not observed.may_take(KEY, now=200, held={KEY})


def test_a_worker_that_restarts_under_its_label_waits_for_its_old_leases(observed: Observed) -> None:
    observed.scanned([lease(5, Owner("blue-1/00"))], now=100)
    observed.scanned([lease(5, Owner("blue-1/00"))], now=109)
    assert not observed.may_take(KEY, now=109, held=NOTHING)
    assert observed.may_take(KEY, now=110, held=NOTHING)


@pytest.mark.parametrize("owner", [None, ME, OTHER])
def test_the_lease_of_a_drained_shard_is_never_free(observed: Observed, owner: Owner | None) -> None:
    for now in (100, 110, 120):
        observed.scanned([lease(5, owner, checkpoint=Checkpoint(ShardEnd()))], now=now)
    assert not observed.may_take(KEY, now=200, held=NOTHING)
    assert observed.next_expiry([KEY], now=120) is None


@pytest.mark.parametrize("key", [":pause/orders", ":start/orders/arn:stream", ":worker/blue-2/bb"])
def test_a_row_that_is_no_lease_is_never_free(observed: Observed, key: str) -> None:
    observed.scanned([Row(key=RowKey(key))], now=100)
    assert not observed.may_take(RowKey(key), now=200, held=NOTHING)
    assert list(observed.leases()) == []


def test_a_unit_of_concurrency_is_a_lease(observed: Observed) -> None:
    unit = Row(key=RowKey(":unit/resize/0"))
    observed.scanned([unit], now=100)
    assert observed.may_take(unit.key, now=100, held=NOTHING)
    assert list(observed.leases()) == [unit]


def test_a_stale_scan_does_not_hide_what_the_worker_has_read_since_the_last_scan(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.saw(lease(6, None), now=105)
    observed.scanned([lease(5)], now=110)
    assert observed.get(KEY) == lease(6, None)
    observed.scanned([lease(5)], now=120)
    assert observed.get(KEY) == lease(5), "two scans in a row show it: the row was deleted and created again"


def test_a_row_that_the_worker_has_created_outlasts_one_scan_that_omits_it(observed: Observed) -> None:
    observed.saw(lease(1, None), now=100)
    observed.scanned([], now=101)
    assert observed.may_take(KEY, now=101, held=NOTHING)
    observed.scanned([], now=111)
    assert observed.get(KEY) is None


def test_a_higher_counter_of_a_scan_replaces_a_row_that_was_read(observed: Observed) -> None:
    observed.saw(lease(5), now=100)
    observed.scanned([lease(6)], now=101)
    assert observed.get(KEY) == lease(6)


def test_a_row_that_a_read_does_not_find_is_forgotten(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.missed(KEY)
    observed.missed(KEY)
    assert observed.get(KEY) is None
    assert not observed.may_take(KEY, now=200, held=NOTHING)


def test_a_row_that_the_table_has_no_more_is_lost_until_the_worker_sees_it_again(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.missed(KEY)
    assert observed.lost == {KEY: Lost(lease(5), 100)}
    observed.saw(lease(6), now=101)
    assert not observed.lost
    observed.scanned([], now=102)
    assert not observed.lost, "a scan may be older than a read"
    observed.scanned([], now=112)
    assert observed.lost == {KEY: Lost(lease(6), 101)}
    observed.forget_lost(but=[KEY])
    assert observed.lost
    observed.forget_lost(but=NOTHING)
    assert not observed.lost


def test_a_row_that_the_worker_itself_deletes_is_not_lost(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.deleted(KEY)
    observed.scanned([], now=110)
    assert observed.get(KEY) is None
    assert not observed.lost


def test_a_worker_lives_while_its_heartbeat_moves(observed: Observed) -> None:
    observed.scanned([worker(1), worker(1, owner=ME)], now=100)
    assert list(observed.live_workers()) == [OTHER]
    observed.scanned([worker(2)], now=110)
    assert observed.live_workers() == {OTHER: worker(2)}
    observed.scanned([worker(2)], now=114.9)
    assert list(observed.live_workers()) == [OTHER]
    observed.scanned([worker(2)], now=115)
    assert observed.live_workers() == {}


def test_messages_to_a_dead_worker_are_no_sign_of_its_life(observed: Observed) -> None:
    for now, counter in (100, 1), (110, 2), (129.9, 3):
        observed.scanned([worker(1, counter=counter), worker(1, owner=ME)], now=now)
    assert observed.live_workers() == {}
    assert observed.dead_workers() == []
    observed.scanned([worker(1, counter=4), worker(1, owner=ME)], now=130)
    assert observed.dead_workers() == [worker(1, counter=4)]


def test_the_row_of_a_lease_is_no_worker(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    assert observed.live_workers() == {}
    observed.scanned([lease(5)], now=200)
    assert observed.dead_workers() == []
    assert observed.live_workers() == {}


def test_the_leases_of_a_worker_that_is_known_to_be_dead_are_free_at_once(observed: Observed) -> None:
    observed.scanned([lease(5), worker(1)], now=100)
    assert observed.live_workers().keys() == {OTHER}
    observed.died(OTHER)
    assert observed.may_take(KEY, now=100, held=NOTHING)
    assert observed.live_workers() == {}
    assert observed.dead_workers() == [worker(1)]
    assert observed.is_late(KEY, 100, now=110)


def test_the_leases_of_other_workers_and_drained_shards_stay_when_a_worker_dies(observed: Observed) -> None:
    third = Owner("blue-3/cc")
    observed.scanned([lease(5), worker(1)], now=100)
    observed.died(Owner("blue-4/dd"))
    assert not observed.may_take(KEY, now=100, held=NOTHING)
    observed.died(OTHER)
    observed.saw(lease(6, checkpoint=Checkpoint(ShardEnd())), now=101)
    assert not observed.may_take(KEY, now=101, held=NOTHING)
    observed.saw(lease(7, third), now=102)
    assert not observed.may_take(KEY, now=102, held=NOTHING), "another worker was faster"


def test_a_dead_worker_is_forgotten_when_no_row_names_it(observed: Observed) -> None:
    observed.scanned([lease(5)], now=100)
    observed.died(OTHER)
    observed.scanned([lease(5)], now=101)
    assert observed.may_take(KEY, now=101, held=NOTHING)
    observed.scanned([lease(6, None)], now=102)
    observed.scanned([lease(7)], now=103)
    assert not observed.may_take(KEY, now=103, held=NOTHING)


def test_an_owner_has_had_the_lease_since_it_was_first_seen_with_this_token(observed: Observed) -> None:
    assert observed.owned_since(KEY) == observed.since(KEY) == observed.seen_at(KEY) == -inf
    observed.scanned([lease(5)], now=100)
    observed.scanned([lease(6)], now=110)
    assert (observed.owned_since(KEY), observed.since(KEY), observed.seen_at(KEY)) == (100, 110, 110)
    observed.saw(lease(7, token=7), now=112)
    assert observed.owned_since(KEY) == 112, "the same worker has taken it once more"
    observed.saw(lease(8, ME, token=7), now=115)
    assert observed.owned_since(KEY) == 115


def test_nobody_has_a_lease_since_it_has_no_owner_or_since_it_has_expired(observed: Observed) -> None:
    assert observed.free_at(KEY) == -inf
    observed.scanned([lease(5)], now=100)
    assert observed.free_at(KEY) == inf
    observed.scanned([lease(5)], now=106)
    assert observed.free_at(KEY) == 110
    observed.saw(lease(6, None), now=107)
    assert observed.free_at(KEY) == 107


def test_the_shards_of_a_stream_are_found_under_the_names_of_all_mappings(observed: Observed) -> None:
    stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
    keys = [f"clicks/{stream}/1", f"views/{stream}/2", f":begun/clicks/{stream}", f"clicks/{stream}-2/1", ":unit/f/1"]
    observed.scanned([Row(key=RowKey(key)) for key in keys], now=100)
    assert [row.key for row in observed.shards(stream)] == keys[:2]
