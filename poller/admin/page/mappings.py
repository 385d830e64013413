"""How does a person find one of a thousand mappings? By a search, by its state, or in the groups of the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from poller.admin.own_words import shown_error
from poller.admin.page.forms import hidden, pausing
from poller.admin.page.markup import NOTHING, Html, element, field, joined, lasting, moment, row, small, text
from poller.admin.page.picture import picture
from poller.admin.page.view import FILTERS, GROUPINGS, LONGEST_SEARCH_IN_CHARACTERS, Filter, Query, View
from poller.admin.readiness import reason_for
from poller.admin.words import count, duration, of_limit, rate, size
from poller.model.backlog import QueueDepth
from poller.model.status import MappingStatus, StreamStatus

MAPPINGS_A_PART = 100

HEADINGS = ("mapping", "state", "records a second", "in flight", "backlog", "last error", "")


OLDEST = "SQS tells the age of the oldest message of the queue to CloudWatch only"


def mappings(view: View) -> Html:
    found = [status for status in view.mappings if is_found(status, view.query)]
    found.sort(key=lambda status: (_rank(status, view), status.mapping))
    parts = max(1, -(-len(found) // MAPPINGS_A_PART))
    part = min(view.query.page, parts)
    shown = found[(part - 1) * MAPPINGS_A_PART : part * MAPPINGS_A_PART]
    return element(
        "section",
        element("h2", text("Mappings"), id="mappings"),
        _filters(view),
        _search(view),
        element("p", text(_summary(view, found, shown, part))),
        _table(view, shown),
        _parts(view, part, parts),
        aria_labelledby="mappings",
    )


def state_of(status: MappingStatus) -> Filter:
    """Return the state under which the page lists a mapping: one with a blocked shard is blocked."""
    return "blocked" if status.stream is not None and status.stream.shards_blocked else status.state


def matches(status: MappingStatus, query: Query) -> bool:
    """Return whether the text of the search is in the mapping's name, source or function."""
    return query.text.lower() in "\n".join((status.mapping, status.source, status.function)).lower()


def is_found(status: MappingStatus, query: Query) -> bool:
    """Return whether the mapping has the text and the state of the search."""
    return matches(status, query) and query.state in (None, status.state, state_of(status))


def _rank(status: MappingStatus, view: View) -> tuple[object, ...]:
    match view.query.grouping:
        case "state":
            return (FILTERS.index(state_of(status)),)
        case "function":
            return (status.function,)
        case "source":
            return (_kind(status),)


def _group(status: MappingStatus, view: View) -> str:
    match view.query.grouping:
        case "state":
            return state_of(status)
        case "function":
            return f"function {status.function}"
        case "source":
            return _kind(status)


def _kind(status: MappingStatus) -> str:
    service = status.source.split(":")[2:3]
    return {"sqs": "SQS queues", "kinesis": "Kinesis streams", "dynamodb": "DynamoDB streams"}.get(
        service[0] if service else "", "other sources"
    )


def _filters(view: View) -> Html:
    """Return a link for each state, with the number of its mappings; the first one shows all mappings."""
    states: Counter[Filter] = Counter(map(state_of, view.mappings))
    links = [_filter(view, None, f"all {len(view.mappings):,}")]
    links += [_filter(view, state, f"{state} {states[state]:,}") for state in FILTERS if states[state]]
    return element("nav", *links, class_="filters", aria_label="states")


def _filter(view: View, state: Filter | None, label: str) -> Html:
    query = view.query._replace(state=state, page=1)
    is_current = "true" if view.query.state == state else ""
    return element("a", text(label), href=query.url, class_=state or "", aria_current=is_current)


def _search(view: View) -> Html:
    query = view.query
    search = field(
        type="search",
        name="q",
        id="q",
        maxlength=str(LONGEST_SEARCH_IN_CHARACTERS),
        value=query.text,
        placeholder="name, source or function",
    )
    options = joined(
        element("option", text(grouping), value=grouping, selected="selected" if grouping == query.grouping else "")
        for grouping in GROUPINGS
    )
    kept = {
        "state": query.state or "",
        "still": "yes" if query.is_still else "",
        "times": "exact" if query.has_exact_times else "",
    }
    return element(
        "form",
        element("label", text("Search "), search),
        element("label", text("Group by "), element("select", options, name="group", id="group")),
        hidden(**kept),
        element("button", text("Show"), type="submit"),
        method="get",
        action="/",
        role="search",
    )


def _summary(view: View, found: Sequence[MappingStatus], shown: Sequence[MappingStatus], part: int) -> str:
    if not view.mappings:
        return "The settings have no mapping."
    if not found:
        return "No mapping matches the search."
    if len(shown) == len(found):
        return count(len(found), "mapping")
    first = (part - 1) * MAPPINGS_A_PART + 1
    return f"{first:,} to {first + len(shown) - 1:,} of {count(len(found), 'mapping')}"


def _parts(view: View, part: int, parts: int) -> Html:
    """Return links to the part of the list before this one, and to the part after it."""
    links = []
    if part > 1:
        links.append(element("a", text("← previous"), href=view.query._replace(page=part - 1).url, rel="prev"))
    if part < parts:
        links.append(element("a", text("next →"), href=view.query._replace(page=part + 1).url, rel="next"))
    return element("nav", *links, class_="parts", aria_label="parts of the list") if links else NOTHING


def _table(view: View, shown: Sequence[MappingStatus]) -> Html:
    if not shown:
        return NOTHING
    head = element("tr", *(element("th", text(heading), scope="col") for heading in HEADINGS[:-1]), _action_heading())
    bodies = []
    for group, members in groupby(shown, key=lambda status: _group(status, view)):
        rows = [row(HEADINGS, list(_cells(status, view))) for status in members]
        title = element("th", text(f"{group} "), small(text(f"{len(rows):,} shown")), colspan="7", scope="rowgroup")
        bodies.append(element("tbody", element("tr", title, class_="group"), *rows))
    return element("table", element("thead", head), *bodies, class_="mappings", aria_labelledby="mappings")


def _action_heading() -> Html:
    return element("th", element("span", text("action"), class_="unseen"), scope="col")


def _cells(status: MappingStatus, view: View) -> Iterator[Html]:
    history = view.histories.get(status.mapping)
    yield joined(
        [
            element("strong", text(status.mapping)),
            element(
                "small",
                text(_short(status.source)),
                text(" → "),
                text(_short(status.function)),
                title=f"{status.source} → {status.function}",
            ),
        ]
    )
    yield joined(_state(status, view))
    yield (
        NOTHING if history is None else joined([element("b", text(rate(history.records_per_second))), picture(history)])
    )
    yield joined(
        [
            text(of_limit(status.batches_in_flight, status.concurrency_limit)),
            small(text(f"{count(status.messages_held, 'record')} in hand")),
        ]
    )
    yield joined(_backlog(status, view))
    yield joined(_last_error(status, view))
    yield pausing(status, view.viewer, view.query)


def _state(status: MappingStatus, view: View) -> Iterator[Html]:
    state, since = state_of(status), status.since
    yield element("strong", text(state), class_=f"badge {state}")
    if status.stream is not None and status.stream.shards_blocked:
        yield small(text(count(status.stream.shards_blocked, "shard")))
        since = min((shard.since for shard in status.stream.blocked), default=None)
    if since is not None:
        yield small(text("for "), lasting(since, view.now))
    if reason := reason_for(status, sees_words=view.viewer.sees_words):
        yield small(text(reason))
    if status.next_try is not None and status.next_try > view.now:
        yield small(text("next try "), moment(status.next_try, view.now))


def _backlog(status: MappingStatus, view: View) -> Iterator[Html]:
    if status.stream is not None:
        yield from _behind(status.stream)
    depth = view.depths.get(status.mapping)
    if isinstance(depth, QueueDepth):
        yield text(f"{depth.visible:,} visible")
        yield small(text(f"{depth.in_flight:,} in flight, {depth.delayed:,} delayed"))
    elif depth is not None:
        yield text("unknown")
        yield small(text(depth.reason))
    if status.queue is not None and (oldest := status.queue.oldest_age_in_seconds) is not None:
        yield element("small", text(f"oldest in hand: {duration(oldest)}"), title=OLDEST)


def _behind(stream: StreamStatus) -> Iterator[Html]:
    age = stream.iterator_age_in_seconds
    yield element(
        "span",
        text("behind: unknown" if age is None else f"{duration(age)} behind"),
        title="iterator age: the age of the oldest record that is not done",
    )
    shards = f"{count(stream.shards_reading, 'shard')} read"
    shards += f", {stream.shards_waiting:,} waiting" if stream.shards_waiting else ""
    yield small(text(shards))
    if stream.bytes_buffered:
        yield small(text(f"{size(stream.bytes_buffered)} in hand"))


def _last_error(status: MappingStatus, view: View) -> Iterator[Html]:
    if (error := status.last_error) is None:
        return
    yield element("span", text(shown_error(error.error, sees_words=view.viewer.sees_words)))
    if error.detail and view.viewer.sees_words:
        yield small(text(error.detail[:200]))
    yield small(moment(error.at, view.now))


def _short(name: str) -> str:
    """Return the last part of an ARN: `stream/clicks`, `buffer-queue`, `table/users/stream/2026-…`."""
    return name.split(":", 5)[-1] if name.startswith("arn:") else name
