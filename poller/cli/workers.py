"""Which workers share the state, and who has the units of concurrency? As tables for a person, and for programs.

The rows tell what each worker has written last. One look cannot tell whether the worker still lives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from poller.cli.printing import wide_console
from poller.cli.tables import column_table
from poller.core.leases.expiry import is_worker
from poller.core.leases.units import is_unit, limit_of, limit_of_mapping
from poller.engine.leases.watching import seen_worker
from poller.model.ids import MappingName
from poller.model.lease import Row
from poller.model.sharing import label_of
from poller.stores.owners import label

MAPPING = limit_of_mapping(MappingName(""))
"""The name of a mapping's limit begins with this text. All other limits are those of functions."""


def workers_table(rows: Iterable[Row]) -> str:
    """Return the lines about the workers, or an empty text if there is none."""
    workers = documents_of_workers(rows)
    return _lines(
        {
            "WORKER": [worker["label"] for worker in workers],
            "LEASES": [str(worker["leases"]) for worker in workers],
            "BYTES A SECOND": [f"{worker['bytes_per_second']:.0f}" for worker in workers],
            "": ["stopping" if worker["is_stopping"] else "" for worker in workers],
        }
    )


def documents_of_workers(rows: Iterable[Row]) -> list[dict[str, Any]]:
    of_workers = sorted((row for row in rows if is_worker(row)), key=lambda row: row.key)
    workers = [seen_worker(row.owner, row) for row in of_workers if row.owner is not None]
    return [{"label": label_of(worker.owner), **worker._asdict()} for worker in workers]


def units_table(rows: Iterable[Row]) -> str:
    """Return the lines about the units of limits, or an empty text if there is no limit."""
    units = documents_of_units(rows)
    return _lines(
        {
            "UNITS OF": [f"the {unit['kind']} {unit['name']}" for unit in units],
            "WORKER": [unit["worker"] or "(free)" for unit in units],
            "UNITS": [str(unit["units"]) for unit in units],
        }
    )


def documents_of_units(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return how many units of each limit each worker has. `worker` is None for those that nobody has.

    `kind` is `function` or `mapping`.
    """
    units = (row for row in rows if is_unit(row.key))
    counts = Counter((limit_of(row.key), "" if row.owner is None else label(row)) for row in units)
    found = []
    for (limit, worker), count in sorted(counts.items()):
        kind = "mapping" if limit.startswith(MAPPING) else "function"
        found.append({"kind": kind, "name": limit.removeprefix(MAPPING), "worker": worker or None, "units": count})
    return found


def _lines(columns: dict[str, list[str]]) -> str:
    if not any(columns.values()):
        return ""
    console = wide_console()
    with console.capture() as lines:
        console.print(column_table(columns))
    return "\n".join(line.rstrip() for line in lines.get().splitlines())
