"""What does the status page show? A table for queues, for streams, for asynchronous events, and for blocked shards.

A table without rows is left out. On a narrow screen each row becomes a card.
The page is HTML without scripts, and the browser loads it again every few seconds.
The counters are read from the registry that /metrics shows, so both show the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from prometheus_client import CollectorRegistry

from poller import __version__
from poller.admin.words import count, duration, size, written
from poller.facts.batches import RECORDS_FAILED, RECORDS_FILTERED_OUT, RECORDS_INVOKED, RECORDS_POLLED
from poller.facts.discards import RECORDS_DISCARDED
from poller.facts.events import EVENT_ATTEMPTS, EVENT_DELIVERIES, EVENTS_ENDED, EVENTS_STORED
from poller.facts.queues import MESSAGES_DELETED
from poller.model.status import BlockedShard, EventsStatus, MappingStatus, StreamStatus

REFRESH_SECONDS = 5

Counts = Mapping[tuple[str, str], int]
Cell = Callable[[MappingStatus, StreamStatus], str]
Row = Sequence[str]
"""The cells of one row, as HTML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns after the state. `owner` is the heading of the first column: a mapping, or the function of events.

    `gauges` are read from the mapping's status; `counters` have the names of their metrics.
    """

    owner: str = "mapping"
    gauges: Mapping[str, Cell]
    counters: Mapping[str, str]

    @property
    def headings(self) -> tuple[str, ...]:
        return (self.owner, "state", *self.gauges, *self.counters)


_COUNTERS = {
    "polled": RECORDS_POLLED.name,
    "filtered out": RECORDS_FILTERED_OUT.name,
    "invoked": RECORDS_INVOKED.name,
    "failed": RECORDS_FAILED.name,
}

_QUEUES = Columns(
    gauges={
        "polls": lambda status, _: f"{status.polls_in_flight:,}",
        "batches": lambda status, _: f"{status.batches_in_flight:,}",
        "held": lambda status, _: f"{status.messages_held:,}",
        "limit": lambda status, _: f"{status.concurrency_limit:,}",
    },
    counters=_COUNTERS | {"deleted": MESSAGES_DELETED.name},
)

_STREAMS = Columns(
    gauges={
        "iterator age": lambda _, stream: duration(stream.iterator_age_in_seconds),
        "checkpoint age": lambda _, stream: duration(stream.checkpoint_age_in_seconds),
        "shards": lambda _, stream: _shards(stream),
        "batches": lambda status, _: f"{status.batches_in_flight:,}",
        "held": lambda status, stream: f"{status.messages_held:,}<small>{size(stream.bytes_buffered)}</small>",
    },
    counters=_COUNTERS | {"discarded": RECORDS_DISCARDED.name},
)

_EVENTS = Columns(
    owner="function",
    gauges={
        "waiting": lambda status, _: f"{_events(status).waiting:,}",
        "taken": lambda status, _: f"{_events(status).in_flight:,}",
        "stuck": lambda status, _: f"{_events(status).stuck:,}",
        "oldest": lambda status, _: duration(_events(status).oldest_age_in_seconds),
    },
    counters={
        "accepted": EVENTS_STORED.name,
        "attempts": EVENT_ATTEMPTS.name,
        "ended": EVENTS_ENDED.name,
        "delivered": EVENT_DELIVERIES.name,
    },
)

_MEANINGS = {
    "polls": "receives that wait for messages",
    "iterator age": "the age of the oldest record that is not done, or how far reading is behind",
    "checkpoint age": "how long a checkpoint has waited to be stored",
    "shards": "shards that are read, that wait for a parent, and that are drained",
    "batches": "invocations that run now",
    "held": "records that are read and not done",
    "limit": "invocations that may run at once",
    "waiting": "events that are due or become due",
    "taken": "events that a daemon works on",
    "stuck": "ended events that a destination refuses for good",
    "oldest": "the time since the oldest of these events was accepted",
}
"""The meanings of the gauges in all tables."""

_STYLE = """
:root { color-scheme: light dark; --line: #8884;
        --good: #1a7f37; --wait: #9a6700; --bad: #cf222e; --pause: #8250df; --off: #6e7781 }
@media (prefers-color-scheme: dark) {
  :root { --good: #3fb950; --wait: #d29922; --bad: #f85149; --pause: #bc8cff; --off: #8b949e }
}
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } h1 small { font-weight: normal; opacity: .65 }
table { border-collapse: collapse; margin: 1rem 0; width: 100% }
caption { font-weight: 600; padding: .3rem .6rem; text-align: left }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: right; vertical-align: top }
th { font-weight: 600; opacity: .65; vertical-align: bottom }
th:nth-child(-n+2), td:nth-child(-n+2), .words th, .words td { text-align: left }
.numbers td:nth-child(n+3) { white-space: nowrap }
td { font-variant-numeric: tabular-nums } td small { display: block; opacity: .75; overflow-wrap: anywhere }
td small.troubled { opacity: 1 } time { white-space: nowrap }
.words td:nth-child(2) small { white-space: nowrap }
.ready { color: var(--good) } .starting, .stopping, .waiting { color: var(--wait) }
.troubled { color: var(--bad) } .paused { color: var(--pause) } .disabled { color: var(--off) }
footer { opacity: .75 }
@media (max-width: 74rem) {
  thead { display: none } table, caption { display: block }
  tbody { align-items: start; display: grid; gap: 1rem;
          grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)) }
  tr { border: 1px solid var(--line); border-radius: .5rem; display: block; padding: .4rem }
  td, td:nth-child(-n+2), .words td { border: 0; display: flex; gap: 1rem; justify-content: space-between;
                                      padding: .2rem .4rem; text-align: right }
  td::before { content: attr(data-label); opacity: .65; white-space: nowrap }
  td span { min-width: 0; overflow-wrap: anywhere } .words td:nth-child(2) small { white-space: normal }
}
"""


def render(statuses: Sequence[MappingStatus], registry: CollectorRegistry) -> str:
    """Return the whole page as HTML. Every text that comes from outside is escaped."""
    counts = _counts(registry)
    queues = [_row(_QUEUES, status, counts) for status in statuses if status.stream is None and status.events is None]
    streams = [_row(_STREAMS, status, counts) for status in statuses if status.stream is not None]
    events = [_row(_EVENTS, status, counts) for status in statuses if status.events is not None]
    tables = (
        _table("Queues", _QUEUES.headings, queues)
        + _table("Streams", _STREAMS.headings, streams)
        + _table("Asynchronous events", _EVENTS.headings, events)
        + _table("Blocked shards", ("mapping", "shard", "reason", "since"), _blocked(statuses), kind="words")
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH_SECONDS}">
<title>poller: {_summary(statuses)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>poller <small>{escape(__version__)}: {_summary(statuses)}</small></h1>
{tables}<footer>
{_legend()}<b>the other columns</b>: records or events since the daemon's start; a retry counts as invoked again<br>
This page reloads every {REFRESH_SECONDS} seconds.
See also <a href="/metrics">metrics</a>, <a href="/readyz">readiness</a> and <a href="/healthz">health</a>.
</footer>
</body>
</html>
"""


def _legend() -> str:
    return "".join(f"<b>{heading}</b>: {meaning}<br>\n" for heading, meaning in _MEANINGS.items())


def _summary(statuses: Sequence[MappingStatus]) -> str:
    enabled = [status for status in statuses if status.state != "disabled" and status.events is None]
    ready = sum(status.state == "ready" for status in enabled)
    paused = sum(status.state == "paused" for status in enabled)
    blocked = sum(status.stream.shards_blocked for status in enabled if status.stream is not None)
    words = f"{ready} of {len(enabled) - paused} mappings ready"
    if paused:
        words += f", {paused} paused"
    if blocked:
        words += f", {count(blocked, 'shard')} blocked"
    stuck = sum(_events(status).stuck for status in statuses)
    return f"{words}, {count(stuck, 'event')} stuck" if stuck else words


def _counts(registry: CollectorRegistry) -> Counts:
    """Return each counter for each mapping or function, summed over the counter's other labels."""
    wanted = {name for columns in (_QUEUES, _STREAMS, _EVENTS) for name in columns.counters.values()}
    counts: Counter[tuple[str, str]] = Counter()
    for family in registry.restricted_registry(wanted).collect():
        for sample in family.samples:
            if sample.name in wanted:
                labels = sample.labels
                counts[sample.name, labels["mapping" if "mapping" in labels else "function"]] += int(sample.value)
    return counts


def _row(columns: Columns, status: MappingStatus, counts: Counts) -> Row:
    stream = status.stream or StreamStatus()
    owner: str = status.mapping if status.events is None else status.function
    source = escape(status.source) + (f" &rarr; {escape(status.function)}" if status.events is None else "")
    state = escape(status.state)
    reason = f"<small>{escape(status.reason)}</small>{_tries(status)}" if status.reason else ""
    if stream.shards_blocked:
        reason += f'<small class="troubled">{count(stream.shards_blocked, "shard")} blocked</small>'
    return (
        f"<strong>{escape(owner)}</strong><small>{source}</small>",
        f'<strong class="{state}">{state}</strong>{reason}',
        *(read(status, stream) for read in columns.gauges.values()),
        *(f"{counts.get((name, owner), 0):,}" for name in columns.counters.values()),
    )


def _events(status: MappingStatus) -> EventsStatus:
    return status.events or EventsStatus()


def _tries(status: MappingStatus) -> str:
    """Return since when a mapping is not ready, how many tries in a row have failed, and when the next try comes."""
    words = [
        f"since {_time(status.since)}" if status.since is not None else "",
        f"attempt {status.attempt:,} failed" if status.attempt is not None else "",
        f"next try at {_time(status.next_try)}" if status.next_try is not None else "",
    ]
    return f"<small>{', '.join(filter(None, words))}</small>" if any(words) else ""


def _time(epoch_seconds: float) -> str:
    """Return the time as HTML that is never broken into two lines."""
    return f"<time>{written(epoch_seconds)}</time>"


def _blocked(statuses: Sequence[MappingStatus]) -> Sequence[Row]:
    """Return a row for each blocked shard that a status names, and one row with the number of further shards."""
    rows: list[Row] = []
    for status in statuses:
        if status.stream is None or not status.stream.shards_blocked:
            continue
        mapping, named = escape(status.mapping), status.stream.blocked
        rows += [(mapping, _location(shard), _why(shard), _time(shard.since)) for shard in named]
        if more := status.stream.shards_blocked - len(named):
            rows.append((mapping, f"and {more:,} more", "", ""))
    return rows


def _why(shard: BlockedShard) -> str:
    return escape(shard.reason) + (f"<small>{escape(shard.detail)}</small>" if shard.detail else "")


def _location(shard: BlockedShard) -> str:
    place = escape(shard.shard_id)
    if shard.start_sequence_number is not None:
        place += f"<small>{count(shard.records, 'record')}, from {escape(shard.start_sequence_number)}</small>"
    if shard.end_sequence_number != shard.start_sequence_number:
        place += f"<small>to {escape(shard.end_sequence_number or '')}</small>"
    return place


def _table(caption: str, headings: Sequence[str], rows: Sequence[Row], kind: str = "numbers") -> str:
    """Return the table as HTML, or an empty text if there are no rows."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "\n".join(
        "<tr>"
        + "".join(
            f'<td data-label="{heading}"><span>{cell}</span></td>' for heading, cell in zip(headings, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"""<table class="{kind}">
<caption>{caption}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
"""


def _shards(stream: StreamStatus) -> str:
    others = [
        f"{number:,} {word}"
        for number, word in ((stream.shards_waiting, "waiting"), (stream.shards_drained, "drained"))
        if number
    ]
    return f"{stream.shards_reading:,} reading" + "".join(f"<small>{other}</small>" for other in others)
