"""Which destinations get reports, and which of them refuse reports?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

from poller.admin.page.markup import Html, table, text
from poller.admin.page.view import View
from poller.admin.words import count

ROWS_SHOWN = 200

What = Literal["discarded batches", "successful events", "failed events", "dead letters"]
"""What a destination gets. The first is from mappings, and the others are from functions."""


def destinations(view: View) -> Html:
    gets: defaultdict[str, Counter[What]] = defaultdict(Counter)
    for destination, what in _uses(view):
        gets[destination][what] += 1
    refused = _shards_blocked(view)
    rows = [
        [text(name), text(_in_words(gets[name])), text(count(refused[name], "shard") if refused[name] else "none")]
        for name in sorted(gets, key=lambda name: (-refused[name], name))
    ]
    return table("Destinations", ("destination", "gets", "shards blocked by it"), rows[:ROWS_SHOWN])


def _uses(view: View) -> Iterator[tuple[str, What]]:
    for status in view.mappings:
        if status.destination is not None:
            yield status.destination, "discarded batches"
    for function in view.functions:
        config = function.event_invoke_config
        if config.on_success is not None:
            yield str(config.on_success), "successful events"
        if config.on_failure is not None:
            yield str(config.on_failure), "failed events"
        if config.dead_letter_arn is not None:
            yield str(config.dead_letter_arn), "dead letters"


def _shards_blocked(view: View) -> Counter[str]:
    refused: Counter[str] = Counter()
    for status in view.mappings:
        if status.destination is not None and status.stream is not None:
            refused[status.destination] += sum(
                shard.reason.startswith("destination: ") for shard in status.stream.blocked
            )
    return refused


def _in_words(gets: Counter[What]) -> str:
    """Return for example `discarded batches of 3 mappings, failed events of 1 function`."""
    return ", ".join(
        f"{what} of {count(number, 'mapping' if what == 'discarded batches' else 'function')}"
        for what, number in gets.items()
    )
