"""What does a worker tell its parent about itself? The statuses of its mappings, its counts, CPU time and memory.

A report is sent as JSON, in which tuples are lists. pydantic turns the JSON into the same values, and checks each one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import TypeAdapter

from poller.model.function_status import FunctionStatus
from poller.model.lease import Owner
from poller.model.sharing import SharingStatus
from poller.model.status import MappingStatus
from poller.telemetry.numbers import Numbers


class Report(NamedTuple):
    """`answers` is the number of the parent's last question before the report was made, or 0.

    `owner` is the worker's name in the table of leases, or None before it has used the table.
    `sharing` is None before the state is open.
    """

    answers: int
    statuses: Sequence[MappingStatus]
    numbers: Sequence[Numbers]
    usage: dict[str, float]
    owner: Owner | None = None
    sharing: SharingStatus | None = None
    functions: tuple[FunctionStatus, ...] = ()


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def encoded(report: Report) -> bytes:
    """Return the report as JSON. A function's error message may have lone surrogates, which become question marks."""
    return json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def decoded(message: bytes) -> Report:
    return _REPORT.validate_json(message)
