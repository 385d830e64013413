"""What else runs? Workers, asynchronous events, destinations, and what was changed lately."""

from __future__ import annotations

from poller.admin.page.destinations import destinations
from poller.admin.page.markup import NOTHING, Html, joined, lasting, moment, small, table, text
from poller.admin.page.view import View
from poller.admin.words import duration, size
from poller.model.lease import shard_of
from poller.model.sharing import label_of, mapping_of
from poller.model.status import EventsStatus

ROWS_SHOWN = 200


def others(view: View) -> Html:
    parts = [_workers(view), _sharing_workers(view), _leases(view), _events(view), destinations(view), _changes(view)]
    return joined(parts)


def _workers(view: View) -> Html:
    rows = [
        [
            text(worker.number),
            joined([text(worker.state), small(text(worker.reason)) if worker.reason else NOTHING]),
            lasting(worker.since, view.now),
            text(worker.pid or ""),
            text(f"{worker.restarts:,}"),
        ]
        for worker in view.workers
    ]
    return table("Workers", ("worker", "state", "for", "process", "restarts"), rows)


def _sharing_workers(view: View) -> Html:
    """Return a table of the workers that share the leases of the state, or nothing if there is only one worker."""
    workers = () if view.sharing is None else view.sharing.workers
    rows = [
        [
            text(label_of(worker.owner)),
            text("stops" if worker.is_stopping else "works"),
            text(f"{worker.leases:,}"),
            text(size(round(worker.bytes_per_second))),
        ]
        for worker in workers
    ]
    headings = ("worker", "state", "leases", "bytes per second")
    return table("Workers that share the state", headings, rows[:ROWS_SHOWN]) if len(rows) > 1 else NOTHING


def _leases(view: View) -> Html:
    """Return a table that says which worker reads which shard, or nothing if there is only one worker."""
    if view.sharing is None or len(view.sharing.workers) < 2:
        return NOTHING
    rows = [
        [
            joined([text(mapping_of(lease.key)), small(text(shard_of(lease.key)))]),
            text("nobody" if lease.owner is None else label_of(lease.owner)),
            text(duration(lease.seconds)),
        ]
        for lease in view.sharing.leases
    ]
    return table("Readers of shards", ("shard", "worker", "for at least"), rows)


def _events(view: View) -> Html:
    rows = [
        [
            text(status.function),
            text(status.state),
            *(text(f"{number:,}") for number in (events.waiting, events.in_flight, events.stuck)),
            text(duration(events.oldest_age_in_seconds))
            if events.waiting + events.in_flight + events.stuck
            else NOTHING,
        ]
        for status in view.statuses
        if (events := status.events or EventsStatus()) and status.events is not None
    ]
    return table(
        "Asynchronous events", ("function", "state", "waiting", "in flight", "stuck", "oldest"), rows[:ROWS_SHOWN]
    )


def _changes(view: View) -> Html:
    rows = [
        [
            moment(at, view.now),
            text(change.change),
            joined(
                [text(change.mapping or change.function or ""), small(text(change.shard)) if change.shard else NOTHING]
            ),
            text(change.by),
            # what was before an order about a shard names the error of the function
            text(change.before or "") if view.viewer.sees_words or change.shard is None else NOTHING,
        ]
        for at, change in reversed(view.changes)
    ]
    return table("Changes by people and programs", ("when", "change", "of", "by", "before"), rows)
