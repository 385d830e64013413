"""What happens to the leases of shards that several workers share?

A fact about several leases names the first NAMED of them.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Histogram, Line, declare
from poller.model.lease import Owner, RowKey

NAMED = 10
"""How many leases one log line names. A worker may lose thousands at once."""


@declare(
    Line("info"),
    Counter("poller_leases_taken_total", "Leases that this worker has taken.", of="daemon").by("leases"),
)
class LeasesTaken(NamedTuple):
    """This worker has taken leases. It may now read their shards, or use their units of concurrency. `named` lists the
    first ones.
    """

    leases: int
    named: tuple[RowKey, ...] = ()


@declare(
    Line("info"),
    Counter("poller_leases_given_away_total", "Leases that this worker has given away.", of="daemon").by("leases"),
)
class LeasesGivenAway(NamedTuple):
    """This worker no longer uses the shards or the units of concurrency of some leases, and has given these leases
    away. Other workers may take them. `named` lists the first ones.
    """

    leases: int
    named: tuple[RowKey, ...] = ()


@declare(
    Line("warning"),
    Counter(
        "poller_leases_lost_total",
        "Leases that this worker has lost, because it could not renew them in time or because another worker has them.",
        of="daemon",
    ).by("leases"),
)
class LeasesLost(NamedTuple):
    """This worker could not renew leases in time, or another worker has them. Invocations that need these leases are
    cut, and their records are delivered again. `named` lists the first ones. A later line `lost_leases_found` says
    which worker has them.
    """

    leases: int
    named: tuple[RowKey, ...] = ()


@declare(Line("info"))
class LostLeasesFound(NamedTuple):
    """Leases that this worker lost belong to another worker now. `worker` is the label and the random number of that
    worker.

    If this worker itself gets a lost lease again, the line `leases_taken` says so.
    """

    worker: Owner
    leases: int
    named: tuple[RowKey, ...] = ()


@declare(Line("warning"))
class LostLeaseRowsCreated(NamedTuple):
    """Rows of the state have gone, although nobody but a person deletes them. This worker has created them again, with
    the positions that it saw last. Records may be delivered again.
    """

    rows: int
    named: tuple[RowKey, ...] = ()


@declare(
    Line("warning"),
    Counter(
        "poller_leases_renewed_late_total",
        "Renewals that came so late that the worker had less than a quarter of its time left.",
        of="daemon",
    ).by("leases"),
)
class LeasesRenewedLate(NamedTuple):
    """This worker renewed leases late. Without the renewal, it could have used them for only `seconds_left` more
    seconds. A slow table, or a host that is too busy, causes this. If it gets worse, the worker loses its leases.
    """

    leases: int
    seconds_left: float


@declare(
    Line("debug"),
    Counter(
        "poller_leases_requested_total",
        "Leases for which this worker has asked other workers, because they had more than their part of the shards or "
        "units. No worker steals a lease: its owner gives it away when its records in hand are done.",
        of="daemon",
    ).by("leases"),
)
class LeasesRequested(NamedTuple):
    """This worker has asked other workers for leases, because they have more than their part of the shards or units."""

    leases: int


@declare(
    Line("debug"),
    Histogram(
        "poller_lease_hand_over_seconds",
        "Time from the moment when this worker saw another worker's offer of a lease until it had taken the lease.",
        of="daemon",
        buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    ).by("seconds"),
)
class LeaseReceived(NamedTuple):
    """This worker has taken a lease that another worker offered to it.

    `seconds` is the time since this worker saw the offer. Before that, the offer may have waited for a second.
    """

    lease: RowKey
    seconds: float


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("code",)),
    Line("warning", once_per=("code",)),
    Counter("poller_lease_table_errors_total", "Calls of the table of leases that failed.", of="daemon").by(1),
)
class LeaseTableFailed(NamedTuple):
    """This worker could not read or write the table of leases. It tries again in `retry_in_seconds`. If this lasts, the
    worker loses its leases. If `needs_action` is true, waiting does not help: a person must act.
    """

    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool = False


@declare(Line("info"))
class LeaseTableRecovered(NamedTuple):
    """This worker can read and write the table of leases again."""
