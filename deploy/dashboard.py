"""Which panels does the Grafana dashboard have? This script prints the dashboard as JSON.

    python deploy/dashboard.py > deploy/grafana-dashboard.json

The first row shows what needs a person, and the rows below show why: records, invocations, queues, streams,
asynchronous events, functions, and the daemon itself.
Each query has all labels of its metric, so that a line has the name of its mapping or function.
A person chooses the data source, the mappings and the functions in the dashboard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from poller.telemetry.reference import metric_entries

LABELS = {entry.name: tuple(entry.labels) for entry in metric_entries()}


class Query(NamedTuple):
    """An expression of PromQL, and the name of its lines."""

    expression: str
    legend: str


class Graph:
    """Lines over time."""

    def __init__(self, title: str, *queries: Query, unit: str = "short") -> None:
        self.title, self.queries, self.unit = title, queries, unit


class Stat(NamedTuple):
    """One number, which is red from `red_from` on."""

    title: str
    expression: str
    unit: str = "short"
    red_from: float = 1


def rate(metric: str, name: str = "") -> Query:
    return _query(metric, name, "sum by ({by}) (rate({selected}[$__rate_interval]))")


def total(metric: str, name: str = "") -> Query:
    return _query(metric, name, "sum by ({by}) ({selected})")


def highest(metric: str, name: str = "") -> Query:
    return _query(metric, name, "max by ({by}) ({selected})")


def median(metric: str) -> Query:
    return _quantile(metric, 0.5, "median")


def slowest(metric: str) -> Query:
    return _quantile(metric, 0.99, "99th percentile")


def selected(metric: str, suffix: str = "") -> str:
    """Return the metric of the mappings or functions that are chosen in the dashboard."""
    owners = [label for label in LABELS[metric][:1] if label in ("mapping", "function")]
    choice = "".join(f'{{{owner}=~"${owner}"}}' for owner in owners)
    return f"{metric}{suffix}{choice}"


def _query(metric: str, name: str, form: str) -> Query:
    labels = LABELS[metric] or ("instance",)
    legend = " ".join([*(f"{{{{{label}}}}}" for label in labels), name]).strip()
    return Query(form.format(by=", ".join(labels), selected=selected(metric)), legend)


def _quantile(metric: str, quantile: float, name: str) -> Query:
    (owner,) = LABELS[metric]
    buckets = f"sum by ({owner}, le) (rate({selected(metric, '_bucket')}[$__rate_interval]))"
    return Query(f"histogram_quantile({quantile}, {buckets})", f"{{{{{owner}}}}} {name}")


STUCK = 'poller_event_queue_events{function=~"$function", state="stuck"}'

ROWS: Mapping[str, Sequence[Stat | Graph]] = {
    "Trouble": [
        Stat("Mappings that are not ready", f"sum(1 - {selected('poller_mapping_ready')})"),
        Stat("Mappings that wait for their function", f"sum({selected('poller_mapping_waiting')})"),
        Stat("Blocked shards", f"sum({selected('poller_shards_blocked')})"),
        Stat("Highest iterator age", f"max({selected('poller_iterator_age_seconds')})", "s", 900),
        Stat("Stuck events", f"sum(max by (function) ({STUCK}))"),
        Stat("Records dropped in a day", f"sum(increase({selected('poller_records_dropped_total')}[1d]))"),
    ],
    "Records": [
        Graph("Records read per second", rate("poller_records_polled_total")),
        Graph(
            "Records that failed or were filtered out, per second",
            rate("poller_records_failed_total", "failed"),
            rate("poller_records_filtered_out_total", "filtered out"),
        ),
        Graph(
            "Age of the oldest record of a batch",
            median("poller_oldest_record_age_seconds"),
            slowest("poller_oldest_record_age_seconds"),
            unit="s",
        ),
        Graph("Records in hand", total("poller_records_held")),
        Graph("Size of the records of streams in hand", total("poller_buffered_bytes"), unit="bytes"),
        Graph("Records of a batch", median("poller_batch_records"), slowest("poller_batch_records")),
    ],
    "Invocations": [
        Graph("Invocations per second, by outcome", rate("poller_invocations_total")),
        Graph(
            "Duration of an invocation",
            median("poller_invocation_duration_seconds"),
            slowest("poller_invocation_duration_seconds"),
            unit="s",
        ),
        Graph(
            "Invocations in flight, and their limit",
            total("poller_invocations_in_flight", "in flight"),
            total("poller_concurrency_limit", "limit"),
        ),
        Graph("Failed invocations per second, by reason", rate("poller_invocation_failures_total")),
        Graph("Attempts on a throttled or unreachable function", rate("poller_invocations_postponed_total")),
        Graph("Batches too large for the function, per second", rate("poller_events_too_large_total")),
    ],
    "Queues": [
        Graph("Messages deleted per second", rate("poller_messages_deleted_total")),
        Graph(
            "Receives per second",
            rate("poller_receives_total", "all"),
            rate("poller_empty_receives_total", "without a message"),
        ),
        Graph(
            "Messages that the queue delivers again, per second",
            rate("poller_delete_failures_total", "delete"),
            rate("poller_receipts_expired_total", "visible too early"),
            rate("poller_messages_released_total", "released by a stop"),
        ),
    ],
    "Streams": [
        Graph("Iterator age", highest("poller_iterator_age_seconds"), unit="s"),
        Graph("Shards, by state", total("poller_shards"), total("poller_shards_blocked", "blocked")),
        Graph(
            "Retries and bisections per second",
            rate("poller_retries_total", "retried"),
            rate("poller_bisections_total", "bisected"),
        ),
        Graph(
            "Records discarded per second",
            rate("poller_records_reported_total", "reported"),
            rate("poller_records_dropped_total", "dropped"),
        ),
        Graph(
            "Errors of sources and destinations, per second",
            rate("poller_source_errors_total", "source"),
            rate("poller_destination_errors_total", "destination"),
        ),
        Graph("Age of the oldest checkpoint that is not stored", highest("poller_checkpoint_age_seconds"), unit="s"),
    ],
    "Asynchronous events": [
        Graph("Events in the event queue, by state", highest("poller_event_queue_events")),
        Graph("Age of the oldest event", highest("poller_event_queue_oldest_event_age_seconds"), unit="s"),
        Graph(
            "Events received and refused, per second",
            rate("poller_events_received_total", "received"),
            rate("poller_events_refused_total", "refused"),
        ),
        Graph("Attempts per second, by outcome", rate("poller_event_attempts_total")),
        Graph(
            "Events ended per second, by reason",
            rate("poller_events_ended_total"),
            rate("poller_events_dropped_total", "dropped"),
        ),
        Graph(
            "Deliveries of ended events, per second",
            rate("poller_event_deliveries_total"),
            rate("poller_event_delivery_failures_total", "failed"),
        ),
    ],
    "Functions": [
        Graph("Child processes", total("poller_child_processes")),
        Graph("Child processes that ended, per second", rate("poller_child_process_exits_total")),
        Graph("Calls by clients per second, by outcome", rate("poller_calls_total")),
    ],
    "The daemon": [
        Graph(
            "CPU time per second",
            Query('rate(process_cpu_seconds_total{job="poller"}[$__rate_interval])', "{{instance}}"),
            unit="percentunit",
        ),
        Graph("Memory", Query('process_resident_memory_bytes{job="poller"}', "{{instance}}"), unit="bytes"),
    ],
    "Leases": [
        Graph("Leases that a daemon holds", total("poller_leases")),
        Graph("Workers that share the state", highest("poller_workers")),
        Graph(
            "Leases per second",
            rate("poller_leases_taken_total", "taken"),
            rate("poller_leases_given_away_total", "given away"),
            rate("poller_leases_lost_total", "lost"),
            rate("poller_leases_renewed_late_total", "renewed late"),
        ),
        Graph(
            "Lost workers, and errors of the table of leases, per second",
            rate("poller_worker_restarts_total", "workers restarted"),
            rate("poller_lease_table_errors_total", "table errors"),
        ),
        Graph(
            "Age of the last sign of life, and silence of the state",
            highest("poller_worker_heartbeat_age_seconds", "sign of life"),
            highest("poller_state_silence_seconds", "silence"),
            unit="s",
        ),
        Graph("Longest time without a reader of a shard", highest("poller_shard_unread_seconds"), unit="s"),
    ],
}

COLUMNS = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's form."""
    return {
        "uid": "poller",
        "title": "poller",
        "tags": ["poller"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("mapping", "poller_records_polled_total"),
                _variable("function", "poller_events_received_total"),
            ]
        },
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(), 1)],
    }


def _variable(label: str, metric: str) -> dict[str, Any]:
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({metric}, {label})",
        "refresh": 2,  # at each change of the time range, because a reload may add mappings
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    """Return the heading and the panels of each row, with their positions in Grafana's grid of 24 columns."""
    y = 0
    for title, panels in ROWS.items():
        yield {"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}
        width, height = (4, 4) if isinstance(panels[0], Stat) else (8, 8)
        columns = COLUMNS // width
        for number, panel in enumerate(panels):
            position = {"x": number % columns * width, "y": y + 1 + number // columns * height, "w": width, "h": height}
            yield {**_panel(panel), "title": panel.title, "datasource": SOURCE, "gridPos": position}
        y += 1 + -(-len(panels) // columns) * height


def _panel(panel: Stat | Graph) -> dict[str, Any]:
    if isinstance(panel, Stat):
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.red_from}]
        return {
            "type": "stat",
            "targets": [{"refId": "A", "expr": panel.expression, "instant": True}],
            "fieldConfig": {"defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}},
            "options": {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}},
        }
    return {
        "type": "timeseries",
        "targets": [
            {"refId": letter, "expr": query.expression, "legendFormat": query.legend}
            for letter, query in zip(ascii_uppercase, panel.queries, strict=False)
        ],
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
