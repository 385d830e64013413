"""Which worker gets a lease that this worker does not use any more?"""

from __future__ import annotations

from poller.core.leases.units import LimitName, unit_key
from poller.engine.leases.plan import Plan
from poller.model.lease import Owner, Row, RowKey
from tests.unit.core.leases.tables import observed_by, shard, worker

UNUSED = shard(0, None)
UNIT = Row(key=unit_key(LimitName("f"), 0))


def plan_of(*rows: Row) -> Plan:
    observed = observed_by(Owner("a"), [worker("a"), worker("b"), *rows])
    return Plan(observed, functions={}, moving={}, is_stopping=False)


def test_a_lease_that_the_plan_does_not_know_gets_no_place_elsewhere() -> None:
    """This worker has taken the lease since its last scan. The other workers find it in their next scan."""
    assert plan_of().place_elsewhere(UNUSED.key) is None
    assert plan_of(UNUSED).place_elsewhere(UNUSED.key) == "b"


def test_a_unit_gets_a_place_elsewhere_as_the_lease_of_a_shard_does() -> None:
    assert plan_of(UNIT).place_elsewhere(UNIT.key) == "b"
    assert plan_of(UNIT).place_elsewhere(RowKey(f"{UNIT.key}1")) is None
