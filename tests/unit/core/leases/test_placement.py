from __future__ import annotations

from dataclasses import replace

import pytest

from poller.core.leases.balancing import Balance
from poller.core.leases.placement import Move
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import Checkpoint, ShardEnd
from tests.unit.core.leases.tables import observed_by, shard, worker

A, B, C = Owner("a"), Owner("b"), Owner("c")
STREAM = "orders/arn:stream"
WORKERS = [worker("a"), worker("b"), worker("c")]


def balance(me: Owner, *rows: Row, workers: list[Row] = WORKERS, is_stopping: bool = False) -> Balance:
    return Balance(observed_by(me, [*workers, *rows]), is_stopping=is_stopping)


def to_take(me: Owner, *rows: Row, wanted_since: float = 100, now: float = 100) -> list[RowKey]:
    wanted = {row.key: wanted_since for row in rows}
    return balance(me, *rows).to_take(wanted, now=now, held=[row.key for row in rows if row.owner == me])


def test_the_workers_divide_the_free_leases_without_a_leader() -> None:
    free = [shard(number, None) for number in range(9)]
    taken = {me: to_take(me, *free) for me in (A, B, C)}
    assert [len(keys) for keys in taken.values()] == [3, 3, 3]
    assert sorted(key for keys in taken.values() for key in keys) == [row.key for row in free]


def test_a_single_worker_takes_everything() -> None:
    free = [shard(number, None) for number in range(9)]
    alone = Balance(observed_by(A, free))  # its own row may not be in the scan yet
    assert len(alone.to_take(dict.fromkeys((row.key for row in free), 0.0), now=100, held=())) == 9


def test_a_worker_takes_no_free_lease_that_it_does_not_want() -> None:
    free = [shard(number, None) for number in range(3)]
    assert balance(A, *free).to_take({}, now=100, held=()) == []


def test_a_lease_that_is_offered_to_a_dead_worker_is_taken_by_another_one() -> None:
    """A lease has no owner while it is handed over. If the next worker does not take it, it is late."""
    free, busy = shard(0, None), shard(1, "a")
    assert to_take(A, free, busy) == []
    assert to_take(A, free, busy, now=109.9) == []
    assert to_take(A, free, busy, now=110) == [free.key]
    assert to_take(A, free, busy, now=110, wanted_since=101) == [], "its parents were not drained before"


def test_a_worker_takes_no_lease_of_a_live_worker() -> None:
    assert to_take(A, shard(0, "b"), shard(1, "b"), now=200) == []


def test_leases_that_their_worker_does_not_use_get_places_at_the_workers_with_the_smallest_loads() -> None:
    unused = [shard(number, None) for number in range(2)]
    plan = balance(A, *unused, shard(2, "a"), shard(3, "b"), shard(4, "b"))
    assert [plan.place_elsewhere(row.key) for row in unused] == [C, C]
    assert [plan.places[row.key] for row in unused] == [C, C]
    assert plan.place_elsewhere(RowKey(f"{STREAM}/shard-00002")) == B
    assert balance(A, *unused, workers=[worker("a")]).place_elsewhere(unused[0].key) is None


def test_the_leases_of_a_dead_worker_have_places_before_they_expire() -> None:
    """Otherwise, a worker would ask the others for leases, and get those of the dead worker on top of them."""
    rows = [shard(number, "dead") for number in range(6)] + [shard(number, "a") for number in range(6, 9)]
    rows += [shard(number, "b") for number in range(9, 12)]
    seen = balance(C, *rows)
    assert [seen.places[row.key] for row in rows[:6]].count(C) == 4
    assert seen.to_request([STREAM]) == []
    assert seen.to_take({row.key: 100 for row in rows}, now=109, held=()) == []


def test_a_worker_that_does_not_renew_a_lease_gets_none() -> None:
    """The last heartbeat of a worker that has died may be newer than its last renewal."""
    leases = [shard(number, "b") for number in range(4)]
    observed = observed_by(A, [worker("b"), worker("c"), *leases], now=100)
    alive = [replace(worker(name), details={"heartbeat": 2}) for name in ("b", "c")]
    observed.scanned([*alive, *leases], now=110)
    seen = Balance(observed)
    assert [seen.places[row.key] for row in leases].count(A) == 2
    assert len(seen.to_take({row.key: 100 for row in leases}, now=110, held=())) == 2


def test_a_silent_lease_that_nobody_wants_makes_no_worker_dead() -> None:
    lease = shard(0, "b")
    observed = observed_by(A, [worker("b"), lease], now=100)
    observed.scanned([replace(worker("b"), details={"heartbeat": 2}), lease], now=110)
    assert list(observed.live_workers()) == []
    observed.scanned([replace(worker("b"), details={"heartbeat": 3}), lease], now=131)
    assert list(observed.live_workers()) == [B]


def test_a_worker_that_stops_offers_its_leases_to_all_others() -> None:
    rows = [shard(number, "a") for number in range(6)] + [shard(6, "b"), shard(7, "b")]
    stopping = balance(A, *rows, is_stopping=True)
    assert stopping.workers == (B, C)
    assert [stopping.places[row.key] for row in rows[:6]].count(C) == 4


def test_a_worker_that_stops_is_offered_nothing() -> None:
    workers = [worker("a"), worker("b", is_stopping=True), worker("c")]
    rows = [shard(number, "a") for number in range(6)] + [shard(6, "b")]
    stopping = balance(A, *rows, workers=workers, is_stopping=True)
    assert {stopping.places[row.key] for row in rows} == {C}


def test_the_last_worker_that_stops_offers_nothing() -> None:
    stopping = Balance(observed_by(A, [worker("a"), shard(0, "a")]), is_stopping=True)
    assert stopping.places == {}
    assert stopping.planned() == []


def test_a_lease_that_moves_already_counts_for_its_receiver() -> None:
    rows = [shard(number, "a") for number in range(4)]
    seen = Balance(observed_by(A, [worker("a"), worker("b"), *rows]), moving={rows[0].key: B})
    assert (seen.loads[A], seen.loads[B]) == (60_000, 20_000)
    assert seen.places[rows[0].key] == B
    assert [move.key for move in seen.planned()] == [rows[1].key]


def test_nobody_is_asked_for_a_lease_that_moves_already() -> None:
    """Its place is at a worker that does not hold it yet."""
    rows = [shard(number, "a") for number in range(6)]
    seen = Balance(observed_by(A, [*WORKERS, *rows]), moving=dict.fromkeys((row.key for row in rows[:4]), B))
    assert seen.planned() == [Move(rows[4].key, A, C)]


def test_a_lease_that_was_offered_stays_with_its_receiver_though_it_has_no_owner_yet() -> None:
    rows = [shard(0, None), shard(1, "b")]
    assert Balance(observed_by(A, [*WORKERS, *rows]), moving={rows[0].key: B}).places[rows[0].key] == B


def test_the_worker_that_has_less_asks_for_leases() -> None:
    rows = [shard(number, "a") for number in range(3)]
    workers = [worker("a"), worker("b")]
    assert balance(A, *rows, workers=workers).to_request([STREAM]) == []
    asking = balance(B, *rows, workers=workers)
    assert asking.to_request([STREAM]) == asking.planned() == [Move(rows[2].key, A, B)]
    assert asking.to_request(["carts/arn:stream"]) == []


def test_a_holder_gives_away_the_leases_that_it_would_move_itself() -> None:
    rows = [*[shard(number, "a") for number in range(4)], *[shard(number, "a", mapping="carts") for number in range(4)]]
    seen = balance(A, *rows, workers=[worker("a"), worker("b"), worker("c")])
    assert len(seen.planned()) == 5
    granted = seen.to_grant(STREAM, B)
    assert granted
    assert {seen.places[key] for key in granted} == {B}
    assert all(key.startswith(f"{STREAM}/") for key in granted)
    assert len(granted) < len([move for move in balance(A, *rows).planned() if move.receiver == B])
    assert seen.to_grant(STREAM, Owner("gone")) == []
    assert balance(B, *rows).to_grant(STREAM, C) == [], "it is another worker's"


def test_many_leases_move_with_one_request() -> None:
    rows = [shard(number, "a") for number in range(1000)]
    assert len(balance(A, *rows, workers=[worker("a"), worker("b")]).to_grant(STREAM, B)) > 400


def test_a_holder_grants_a_request_only_while_it_makes_the_loads_more_alike() -> None:
    rows = [shard(number, "a") for number in range(4)]
    seen = balance(A, *rows, workers=[worker("a"), worker("b")])
    assert [seen.grant(row.key, B) for row in rows] == [True, True, False, False]
    assert not seen.grant(rows[0].key, A), "it is given away already"
    assert seen.places[rows[0].key] == B


@pytest.mark.parametrize("asker", ["gone", "stopping"])
def test_a_request_of_a_worker_that_ends_is_not_granted(asker: str) -> None:
    rows = [shard(number, "a") for number in range(4)]
    seen = balance(A, *rows, workers=[worker("a"), worker("stopping", is_stopping=True)])
    assert not seen.grant(rows[0].key, Owner(asker))


def test_a_request_for_a_lease_of_another_worker_is_not_granted() -> None:
    rows = [shard(number, "b") for number in range(4)]
    seen = balance(A, *rows, shard(4, None))
    assert not seen.grant(rows[0].key, C)
    assert not seen.grant(RowKey("orders/arn:stream/unknown"), C)


def test_a_shard_that_is_about_to_end_does_not_move() -> None:
    """Its records are in hand; the hand-over would take as long as the end."""
    ending = [replace(shard(number, "a"), details={"children": ["shard-9"]}) for number in range(4)]
    seen = balance(A, *ending)
    assert seen.planned() == []
    assert not seen.grant(ending[0].key, B)


def test_drained_shards_keep_nobody_busy() -> None:
    """Closed shards that are done stay in the table. They have no place, also those that another worker has drained."""
    drained = [shard(number, None, checkpoint=Checkpoint(ShardEnd())) for number in range(8)]
    open_shards = [shard(number, None) for number in range(8, 11)]
    assert len(to_take(A, *drained, *open_shards)) == 1
    seen = balance(A, *drained, shard(0, "a", checkpoint=Checkpoint(ShardEnd())))
    assert seen.places == {}
    assert set(seen.loads.values()) == {0.0}
