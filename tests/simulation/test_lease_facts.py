"""What does a worker report about its leases, so that a person knows who reads which shard?"""

from __future__ import annotations

from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.facts import (
    Fact,
    LeaseReceived,
    LeasesGivenAway,
    LeasesLost,
    LeasesRenewedLate,
    LeasesRequested,
    LeasesTaken,
    LostLeasesFound,
)
from poller.facts.leases import NAMED
from poller.model.stream import ShardId
from tests.fakes.faults import FaultPlan
from tests.simulation.leases_stream import key_of
from tests.simulation.leases_world import LeaseWorld
from tests.simulation.test_leases import FAILOVER_IN_SECONDS, play, reading

F = TypeVar("F", bound=Fact)


def facts(world: LeaseWorld, kind: type[F]) -> list[F]:
    return [fact for fact in world.facts if isinstance(fact, kind)]


def test_the_facts_name_the_leases_that_were_taken_lost_and_given_away() -> None:
    shards: list[ShardId] = []

    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shards.extend(world.stream.open() for _ in range(2))
        life = world.start(tasks, "only")
        await reading(world, life, 2, within=2)
        [taken] = facts(world, LeasesTaken)
        assert (taken.leases, set(taken.named)) == (2, set(map(key_of, shards)))
        life.cut_off(15)
        await reading(world, life, 0, within=LEASE_DURATION_IN_SECONDS)
        assert [set(fact.named) for fact in facts(world, LeasesLost)] == [set(map(key_of, shards))]
        await reading(world, life, 2, within=LEASE_DURATION_IN_SECONDS)
        other = world.start(tasks, "other")
        await reading(world, other, 1, within=FAILOVER_IN_SECONDS)
        assert [set(fact.named) for fact in facts(world, LeasesGivenAway)] == [set(map(key_of, other.reader.reading))]
        await anyio.sleep(2 * LEASE_DURATION_IN_SECONDS)

    world = play(main)
    assert not facts(world, LostLeasesFound), "the worker itself has taken the lost leases again"


def test_a_fact_about_many_leases_names_the_first_ten() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(NAMED + 5):
            world.stream.open()
        life = world.start(tasks, "only")
        await reading(world, life, NAMED + 5, within=2)
        life.cut_off(15)
        await reading(world, life, 0, within=LEASE_DURATION_IN_SECONDS)
        await reading(world, life, NAMED + 5, within=FAILOVER_IN_SECONDS)

    world = play(main)
    assert [(fact.leases, len(fact.named)) for fact in facts(world, LeasesTaken)[:1]] == [(NAMED + 5, NAMED)]
    assert [(fact.leases, len(fact.named)) for fact in facts(world, LeasesLost)] == [(NAMED + 5, NAMED)]


def test_a_worker_that_lost_leases_reports_which_worker_has_them() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        shards = [world.stream.open() for _ in range(4)]
        old = world.start(tasks, "old")
        await reading(world, old, 4, within=2)
        old.cut_off(2 * LEASE_DURATION_IN_SECONDS + 5)
        new = world.start(tasks, "new")
        await reading(world, new, 4, within=FAILOVER_IN_SECONDS)
        await anyio.sleep(3 * LEASE_DURATION_IN_SECONDS)
        found = facts(world, LostLeasesFound)
        assert {fact.worker for fact in found} == {new.owner}
        assert sum(fact.leases for fact in found) == 4
        assert {key for fact in found for key in fact.named} == set(map(key_of, shards))

    play(main)


def test_a_renewal_is_late_if_the_table_did_not_answer_for_some_seconds_and_else_never() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        world.stream.open()
        life = world.start(tasks, "only")
        await anyio.sleep(1.3)
        world.stream.open()
        await anyio.sleep(60)
        assert not facts(world, LeasesRenewedLate)
        for _ in range(6):
            life.cut_off(4)
            await anyio.sleep(17.7)

    late = facts(play(main, world=LeaseWorld(seed=1, interval_in_seconds=1000)), LeasesRenewedLate)
    assert late
    assert all(0 <= fact.seconds_left < 2 for fact in late)


def test_a_worker_reports_what_it_asks_for_and_how_long_it_waited_for_an_offered_lease() -> None:
    async def main(world: LeaseWorld, tasks: TaskGroup) -> None:
        for _ in range(6):
            world.stream.open()
        old = world.start(tasks, "old")
        await reading(world, old, 6, within=2)
        assert not facts(world, LeaseReceived)
        new = world.start(tasks, "new", faults=FaultPlan(latency_in_seconds=(0.1, 0.1)))
        await reading(world, new, 3, within=FAILOVER_IN_SECONDS)
        assert sum(fact.leases for fact in facts(world, LeasesRequested)) >= 3
        received = facts(world, LeaseReceived)
        assert len({fact.lease for fact in received}) == len(received) == 3
        assert all(0.39 <= fact.seconds < 2 for fact in received), "a read and a write of the table take 0.4 s"

    play(main)
