"""What needs a person? The blocked shards, the mappings that do not work, and the events that are stuck.

Each card says what is wrong, since when, why, what happens next, and what can be done.
Mappings with the same state and reason share a card, because one cause often stops many mappings. Names of sources in
the reasons do not count.
A search narrows the cards, too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from poller.admin.own_words import shown_reason
from poller.admin.page.forms import events_url, orders, pausing
from poller.admin.page.mappings import matches
from poller.admin.page.markup import NOTHING, Html, element, joined, lasting, moment, small, text
from poller.admin.page.view import Query, View
from poller.admin.readiness import kept_until, reason_for
from poller.admin.words import count
from poller.model.status import BlockedShard, EventsStatus, MappingState, MappingStatus

CARDS_SHOWN = 12
"""The most cards of each kind."""

NAMES_SHOWN = 8
"""The most mappings that one card names."""

HIDDEN_WORDS = "shown only with the admin token"

_TROUBLES: tuple[MappingState, ...] = ("troubled", "waiting", "starting", "stopping")

Cause = tuple[MappingState, str]


def attention(view: View) -> Html:
    statuses = [status for status in view.statuses if matches(status, view.query)]
    cards = [*_blocked_cards(statuses, view), *_trouble_cards(statuses, view), *map(_stuck, _with_stuck(statuses))]
    content = element("ul", *cards, class_="cards") if cards else element("p", text(_all_is_well(view)), class_="good")
    heading = element("h2", text("Needs attention"), id="attention")
    return element("section", heading, content, aria_labelledby="attention")


def _all_is_well(view: View) -> str:
    if not view.mappings:
        return "The settings have no mapping. Add one to the settings file, and reload it."
    if view.query.text:
        return "Nothing that matches the search."
    return "Nothing: no shard is blocked, and every mapping that is not paused or disabled works."


def _blocked_cards(statuses: Sequence[MappingStatus], view: View) -> Iterator[Html]:
    blocked = [(status, shard) for status in statuses if status.stream for shard in status.stream.blocked]
    blocked.sort(key=lambda pair: pair[1].since)
    yield from (_blocked(status, shard, view) for status, shard in blocked[:CARDS_SHOWN])
    if more := len(blocked) - CARDS_SHOWN:
        yield from _more(more, "blocked shard")


def _blocked(status: MappingStatus, shard: BlockedShard, view: View) -> Html:
    viewer, now = view.viewer, view.now
    reason = shown_reason(shard.reason, is_function_error=shard.is_function_error, sees_words=viewer.sees_words)
    words = (shard.detail if viewer.sees_words else HIDDEN_WORDS) if shard.detail else ""
    facts = [
        ("why", joined([element("strong", text(reason)), _words(words)])),
        ("records", joined(_range(shard))),
        ("failed tries", text(f"{shard.attempt:,}") if shard.attempt else NOTHING),
        ("next try", _next_try(shard.next_try, now)),
        ("in the stream", joined(_left(shard, now))),
        ("destination", text(status.destination or "none: a discarded batch is only counted and logged")),
    ]
    return element(
        "li",
        element("h3", text(f"{status.mapping} is blocked at {shard.shard_id}")),
        element("p", text("blocked for "), lasting(shard.since, now), text("; later records of the shard wait")),
        _facts(facts),
        element("p", text(_advice(shard))),
        orders(status.mapping, shard, viewer, view.query),
        class_="card blocked",
    )


def _range(shard: BlockedShard) -> Iterator[Html]:
    start, end = shard.ends
    if start is None or end is None:
        yield text("none: this is the last invocation of a tumbling window")
        return
    yield text(count(shard.records, "record"))
    if end == start:
        yield small(text(start), class_="number")
        return
    yield small(text(f"from {start}"), class_="number")
    yield small(text(f"to {end}"), class_="number")


def _advice(shard: BlockedShard) -> str:
    """Return a text that says how a person can end the block."""
    if "discard" not in shard.actions:
        return "The report to the destination is tried again. Mend the destination."
    if "bisect" in shard.actions:
        return (
            "Mend the function: all records are tried again. If a record is at fault, bisect until it is alone, and "
            "discard it."
        )
    what = "record" if shard.records else "window"
    return f"Mend the function: the {what} is tried again. If the {what} is at fault, discard it."


def _left(shard: BlockedShard, now: float) -> Iterator[Html]:
    """Yield text that says for how long the stream keeps the first record of the batch."""
    until = kept_until(shard)
    if until is not None:
        yield text("the first record is kept for at least " if until > now else "the first record may be gone since ")
        yield lasting(until, now)


def _trouble_cards(statuses: Sequence[MappingStatus], view: View) -> Iterator[Html]:
    causes: defaultdict[Cause, list[MappingStatus]] = defaultdict(list)
    for status in statuses:
        if status.state in _TROUBLES:
            reason = reason_for(status, sees_words=view.viewer.sees_words) or ""
            causes[status.state, _without_source(reason, status.source)].append(status)
    found = sorted(causes.items(), key=lambda item: (_TROUBLES.index(item[0][0]), -len(item[1])))
    yield from (_trouble(cause, members, view) for cause, members in found[:CARDS_SHOWN])
    if more := len(found) - CARDS_SHOWN:
        yield from _more(more, "cause")


def _without_source(reason: str, source: str) -> str:
    """Return the reason without the source's ARN and name: a failure of several sources often has one cause."""
    if not source.startswith("arn:"):
        return reason
    resource = source.split(":", 5)[-1].split("/")
    name = resource[min(1, len(resource) - 1)]  # as in `queue`, `stream/NAME`, `table/NAME/stream/…`
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "…", reason.replace(source, "the source"))


def _trouble(cause: Cause, members: Sequence[MappingStatus], view: View) -> Html:
    (state, why), first, now = cause, members[0], view.now
    if len(members) == 1:
        why = reason_for(first, sees_words=view.viewer.sees_words) or ""
    title = _title(first) if len(members) == 1 else f"{count(len(members), 'mapping')} are {state}"
    beginnings = [status.since for status in members if status.since is not None]
    tries = [status.next_try for status in members if status.next_try is not None]
    facts = [
        ("why", text(why)),
        ("failed tries", text(f"{first.attempt:,}") if first.attempt and len(members) == 1 else NOTHING),
        ("next try", _next_try(min(tries), now) if tries else NOTHING),
        ("source", text(first.source) if len(members) == 1 else NOTHING),
        ("function", text(", ".join(sorted({status.function for status in members})[:NAMES_SHOWN]))),
        ("mappings", joined(_names(members)) if len(members) > 1 else NOTHING),
    ]
    return element(
        "li",
        element("h3", text(title)),
        element("p", text(f"{state} for "), lasting(min(beginnings), now)) if beginnings else NOTHING,
        _facts(facts),
        pausing(first, view.viewer, view.query) if len(members) == 1 and first.events is None else NOTHING,
        class_=f"card {state}",
    )


def _title(status: MappingStatus) -> str:
    if status.events is None:
        return f"{status.mapping} is {status.state}"
    return f"The events of {status.function} are {'in trouble' if status.state == 'troubled' else status.state}"


def _names(members: Sequence[MappingStatus]) -> Iterator[Html]:
    for status in members[:NAMES_SHOWN]:
        yield element("a", text(_name(status)), href=Query(status.mapping).url)
        yield text(" ")
    if more := len(members) - NAMES_SHOWN if len(members) > NAMES_SHOWN else 0:
        yield element("a", text(f"and {more:,} more"), href=Query(state=members[0].state).url)


def _name(status: MappingStatus) -> str:
    return status.mapping if status.events is None else f"events of {status.function}"


def _with_stuck(statuses: Sequence[MappingStatus]) -> Sequence[MappingStatus]:
    return [status for status in statuses if status.events is not None and status.events.stuck][:CARDS_SHOWN]


def _stuck(status: MappingStatus) -> Html:
    number = (status.events or EventsStatus()).stuck
    return element(
        "li",
        element("h3", text(f"{count(number, 'event')} of {status.function} stuck")),
        element("p", text("Nothing more happens with them until a person retries or drops them.")),
        element("p", element("a", text(f"Stuck events of {status.function}…"), href=events_url(status.function))),
        class_="card troubled",
    )


def _more(number: int, noun: str) -> Iterator[Html]:
    if number > 0:
        yield element("li", text(f"and {count(number, noun)} more; search for a mapping to see its own"), class_="more")


def _next_try(at: float | None, now: float) -> Html:
    if at is None:
        return NOTHING
    return text("now") if at <= now else moment(at, now)


def _words(words: str) -> Html:
    return small(text(words)) if words else NOTHING


def _facts(facts: Sequence[tuple[str, Html]]) -> Html:
    return element("dl", *(joined([element("dt", text(name)), element("dd", value)]) for name, value in facts if value))
