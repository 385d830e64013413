"""Which metrics and log events does poller have, and what does each mean? The lists are made from the declarations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from poller.facts.declaration import DECLARATIONS, Label, Level, Line, Metric, metrics
from poller.telemetry.gauges import GAUGES, RELOAD_GAUGES, SHARING_GAUGES


class MetricEntry(NamedTuple):
    """A metric of /metrics. `type` is its type in Prometheus' words.

    `labels` has each label with all its values, or with no value if the values come from outside.
    """

    name: str
    type: str
    labels: Mapping[str, Sequence[str]]
    meaning: str


class EventEntry(NamedTuple):
    """A log event. `once_per` and `pause_in_seconds` say which of its lines are suppressed as repetitions.

    If `once_per` is empty, every line is written. Otherwise, lines with equal values in these fields are repetitions:
    one line is written in each pause. If the pause is None, only the first line is ever written.
    """

    event: str
    levels: Sequence[Level]
    fields: Sequence[str]
    once_per: Sequence[str]
    pause_in_seconds: float | None
    meaning: str


_BUILD = MetricEntry("poller_build_info", "info", {"version": (), "python": ()}, "The program that runs.")
_LIBRARY_LOGGED = EventEntry(
    "library_logged",
    ("warning", "error"),
    ("logger", "message", "exception"),
    (),
    None,
    "A library that poller uses logged a message; the values in it are left out.",
)


def metric_entries() -> list[MetricEntry]:
    """Return all metrics of poller, by name, without those of the process, which prometheus_client documents."""
    gauges = [gauge.metric for gauge in (*GAUGES, *RELOAD_GAUGES, *SHARING_GAUGES)]
    declared = {metric.name: metric for metric in (*metrics(), *gauges)}
    entries = [MetricEntry(one.name, _type(one), _labels(one), one.meaning) for one in declared.values()]
    return sorted([*entries, _BUILD])


def event_entries() -> list[EventEntry]:
    """Return all log events, by name."""
    entries: dict[str, EventEntry] = {}
    for declaration in DECLARATIONS.values():
        for line in declaration.lines:
            event = line.event or declaration.event
            known = entries.get(event)
            entries[event] = EventEntry(
                event,
                (*known.levels, line.level) if known else (line.level,),
                tuple("exception" if name == "error" else name for name in declaration.fact._fields),
                _once_per(line),
                line.pause_in_seconds if line.once_per and line.pause_in_seconds < math.inf else None,
                line.meaning or declaration.meaning,
            )
    return sorted([*entries.values(), _LIBRARY_LOGGED])


def _type(metric: Metric) -> str:
    return type(metric).__name__.lower()


def _labels(metric: Metric) -> dict[str, Sequence[str]]:
    known = {label.name: label.known for label in metric.labels if not label.is_open}
    return {name: known.get(name, ()) for name in metric.label_names}


def _once_per(line: Line) -> tuple[str, ...]:
    return tuple(part.source if isinstance(part, Label) else part for part in line.once_per)
