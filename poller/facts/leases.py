"""What happens to the leases of shards that several workers share?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Line, declare


@declare(
    Line("info"),
    Counter("poller_leases_taken_total", "Leases that this worker has taken.", of="daemon").by("leases"),
)
class LeasesTaken(NamedTuple):
    """This worker has taken leases, and may read their shards now."""

    leases: int


@declare(
    Line("info"),
    Counter("poller_leases_given_away_total", "Leases that this worker has given away.", of="daemon").by("leases"),
)
class LeasesGivenAway(NamedTuple):
    """This worker has given leases away, because it reads their shards no more. Other workers may take them."""

    leases: int


@declare(
    Line("warning"),
    Counter("poller_leases_lost_total", "Leases that this worker has lost.", of="daemon").by("leases"),
)
class LeasesLost(NamedTuple):
    """This worker could not renew leases in time, or another worker has them. Their invocations are cut, and the next
    worker will deliver the records again.
    """

    leases: int


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("code",)),
    Line("warning", once_per=("code",)),
    Counter("poller_lease_table_errors_total", "Calls of the table of leases that failed.", of="daemon").by(1),
)
class LeaseTableFailed(NamedTuple):
    """This worker could not read or write the table of leases. It tries again in `retry_in_seconds`. If this lasts, the
    worker loses its leases. If `needs_action` is true, waiting will hardly help, so a person should act.
    """

    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool = False


@declare(Line("info"))
class LeaseTableRecovered(NamedTuple):
    """This worker can read and write the table of leases again."""
