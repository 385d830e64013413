"""Which destinations get reports, and which of them refuse reports?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Literal

from poller.admin.page.markup import Html, table, text
from poller.admin.page.view import View
from poller.admin.words import count
from poller.model.function import Function

ROWS_SHOWN = 200

What = Literal["discarded batches", "successful events", "failed events", "dead letters"]
"""The kinds of records that a destination gets. Mappings send discarded batches. Functions send the other kinds."""


def destinations(view: View) -> Html:
    gets: defaultdict[str, Counter[What]] = defaultdict(Counter)
    for destination, what in _uses(view):
        gets[destination][what] += 1
    shards, events = _shards_blocked(view), _events_stuck(view)
    rows = [
        [text(name), text(_in_words(gets[name])), text(_trouble(shards[name], events[name]))]
        for name in sorted(gets, key=lambda name: (-shards[name], -events[name], name))
    ]
    return table("Destinations", ("destination", "gets", "trouble"), rows[:ROWS_SHOWN])


def _uses(view: View) -> Iterator[tuple[str, What]]:
    for status in view.mappings:
        if status.destination is not None:
            yield status.destination, "discarded batches"
    for function in view.functions:
        yield from _of_events(function)


def _of_events(function: Function) -> Iterator[tuple[str, What]]:
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
                shard.reason.startswith("destination: ") and not shard.is_function_error
                for shard in status.stream.blocked
            )
    return refused


def _events_stuck(view: View) -> Counter[str]:
    """Count the stuck events by destination. An event counts for each destination of its function.

    The counts do not tell which of these destinations refuses an event. The page of the stuck events tells it.
    """
    of_function = {status.function: status.events.stuck for status in view.statuses if status.events is not None}
    stuck: Counter[str] = Counter()
    for function in view.functions:
        for destination in {name for name, _ in _of_events(function)}:
            stuck[destination] += of_function.get(function.name, 0)
    return stuck


def _trouble(shards: int, events: int) -> str:
    blocked = [f"blocks {count(shards, 'shard')}"] if shards else []
    stuck = [f"{count(events, 'event')} of its functions stuck"] if events else []
    return "; ".join(blocked + stuck) or "none"


def _in_words(gets: Counter[What]) -> str:
    """Return for example `discarded batches of 3 mappings, failed events of 1 function`."""
    return ", ".join(
        f"{what} of {count(number, 'mapping' if what == 'discarded batches' else 'function')}"
        for what, number in gets.items()
    )
