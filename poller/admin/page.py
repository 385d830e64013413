"""How is the daemon doing, for a person's eyes? One HTML page without scripts, which loads itself again.

One row for each mapping; on a narrow screen a row becomes a card.
The counters are read from the registry that /metrics shows, so that the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from prometheus_client import CollectorRegistry

from poller import __version__
from poller.model.status import MappingStatus
from poller.telemetry import metrics

REFRESH_SECONDS = 5

_COUNTERS = {
    "polled": metrics.RECORDS_POLLED,
    "filtered out": metrics.RECORDS_FILTERED_OUT,
    "invoked": metrics.RECORDS_INVOKED,
    "failed": metrics.RECORDS_FAILED,
    "deleted": metrics.RECORDS_DELETED,
}
_HEADINGS = ("mapping", "state", "polls", "batches", "held", "limit", *_COUNTERS)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --wait: #9a6700; --bad: #cf222e; --off: #6e7781 }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --wait: #d29922; --bad: #f85149; --off: #8b949e } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem }
h1 { font-size: 1.3rem; margin: 0 } h1 small { font-weight: normal; opacity: .65 }
table { border-collapse: collapse; margin: 1rem 0; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: right; vertical-align: top }
th { font-weight: 600; opacity: .65; white-space: nowrap }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
td { font-variant-numeric: tabular-nums } td small { display: block; opacity: .75; overflow-wrap: anywhere }
.ready { color: var(--good) } .starting, .stopping { color: var(--wait) }
.troubled { color: var(--bad) } .disabled { color: var(--off) }
footer { opacity: .75 }
@media (max-width: 50rem) {
  thead { display: none }
  tr { border: 1px solid var(--line); border-radius: .5rem; display: block; margin-bottom: 1rem; padding: .4rem }
  td, td:nth-child(-n+2) { border: 0; display: flex; gap: 1rem; justify-content: space-between; padding: .2rem .4rem;
                           text-align: right }
  td::before { content: attr(data-label); opacity: .65; white-space: nowrap }
}
"""


def render(statuses: Sequence[MappingStatus], registry: CollectorRegistry) -> str:
    """The whole page. Every text that is not ours is escaped."""
    counts = _counts(registry)
    rows = "\n".join(
        _row(status, [counts.get((name, status.mapping), 0) for name in _COUNTERS.values()]) for status in statuses
    )
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS)
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
<table>
<thead><tr>{headings}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<footer>
Counters are records since the start; a retry counts as invoked again.
This page loads itself every {REFRESH_SECONDS} seconds.
See also <a href="/metrics">metrics</a>, <a href="/readyz">readiness</a> and <a href="/healthz">health</a>.
</footer>
</body>
</html>
"""


def _summary(statuses: Sequence[MappingStatus]) -> str:
    enabled = [status for status in statuses if status.state != "disabled"]
    ready = sum(status.state == "ready" for status in enabled)
    return f"{ready} of {len(enabled)} mappings ready"


def _counts(registry: CollectorRegistry) -> dict[tuple[str, str], int]:
    wanted = frozenset(_COUNTERS.values())
    return {
        (sample.name, sample.labels["mapping"]): int(sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name in wanted
    }


def _row(status: MappingStatus, counts: Iterable[int]) -> str:
    reason = f"<small>{escape(status.reason)}</small>" if status.reason else ""
    gauges = (status.polls_in_flight, status.batches_in_flight, status.messages_held, status.concurrency_limit)
    cells = (
        f"<span><strong>{escape(status.mapping)}</strong>"
        f"<small>{escape(status.source)} &rarr; {escape(status.function)}</small></span>",
        f'<span><strong class="{escape(status.state)}">{escape(status.state)}</strong>{reason}</span>',
        *(f"{number:,}" for number in (*gauges, *counts)),
    )
    labelled = zip(_HEADINGS, cells, strict=True)
    return "<tr>" + "".join(f'<td data-label="{heading}">{cell}</td>' for heading, cell in labelled) + "</tr>"
