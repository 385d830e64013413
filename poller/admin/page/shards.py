"""Which shards are read, by whom, and how far? The blocked ones come first, then those that are most behind.

The list is folded, and shows SHARDS_LISTED shards of the mappings that the reader has searched for.
A lane is listed if it has records in hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from poller.admin.own_words import shown_reason
from poller.admin.page.mappings import is_found
from poller.admin.page.markup import NOTHING, Html, element, joined, lasting, moment, small, table, text
from poller.admin.page.view import View
from poller.admin.words import count, duration
from poller.core.streams.trouble_first import rank
from poller.model.ids import MappingName
from poller.model.sharing import label_of
from poller.model.status import LaneStatus, ShardStatus

SHARDS_LISTED = 50

LANES_LISTED = 10
"""How many lanes of a shard are listed. A mapping has at most ten."""

UNFOLDED_SHARDS = 10
"""If there are no more shards than this, the list is not folded."""

LAST_DIGITS = 8
"""How many digits of a long sequence number are shown. The whole number is in the title."""

MORE = "; a search for a mapping shows its own, and `poller state show` shows all"

HEADINGS = ("shard", "reader", "position", "behind", "in hand", "lanes")


def shards(view: View) -> Html:
    found = [status for status in view.mappings if status.stream is not None and is_found(status, view.query)]
    read = sum(status.stream.shards_reading for status in found if status.stream is not None)
    known = [(status.mapping, shard) for status in found if status.stream for shard in status.stream.shards]
    known.sort(key=lambda one: rank(one[1].blocked_since, one[1].age_in_seconds))
    if not known:
        return NOTHING
    listed = known[:SHARDS_LISTED]
    rows = [list(_cells(mapping, shard, view)) for mapping, shard in listed]
    more = max(0, read - len(listed))
    return element(
        "details",
        element("summary", element("h2", text("Shards")), text(count(read, "shard")), text(" read")),
        table("Shards that are read", HEADINGS, rows, class_="shards"),
        element("p", text(f"and {count(more, 'shard')} more{MORE}")) if more else NOTHING,
        id="shards",
        open="open" if view.query.text or read <= UNFOLDED_SHARDS else "",
    )


def _cells(mapping: MappingName, shard: ShardStatus, view: View) -> Iterator[Html]:
    now = view.now
    state = element("strong", text("blocked"), class_="badge blocked") if shard.blocked_since is not None else NOTHING
    yield joined([text(mapping), small(text(shard.shard_id)), state])
    since = NOTHING if shard.read_since is None else small(text("for "), lasting(shard.read_since, now))
    yield joined([text(label_of(shard.worker)), since])
    yield _position(shard.position, now)
    yield text(duration(shard.age_in_seconds))
    yield text(count(shard.records, "record"))
    yield joined(_lane(lane, view) for lane in shard.lanes[:LANES_LISTED])


def _position(position: str, now: float) -> Html:
    """Return a short text for a position: `TRIM_HORIZON`, a time, or the last digits of a sequence number."""
    kind, _, value = position.partition(" ")
    if kind == "AT_TIMESTAMP":
        return joined([text("at "), moment(float(value), now)])
    if not value:
        return text(kind)
    word = "after " if kind == "AFTER_SEQUENCE_NUMBER" else "at "
    shown = value if len(value) <= 2 * LAST_DIGITS else f"…{value[-LAST_DIGITS:]}"
    return joined([text(word), element("span", text(shown), title=value, class_="number")])


def _lane(lane: LaneStatus, view: View) -> Html:
    now, sees_words = view.now, view.viewer.sees_words
    words = [f"lane {lane.number}: {count(lane.records, 'record')}"]
    words += ["the function runs"] if lane.is_invoking else []
    if lane.reason is not None:
        words += [shown_reason(lane.reason, is_function_error=lane.is_function_error, sees_words=sees_words)]
    words += [f"failed tries: {lane.attempt:,}"] if lane.attempt else []
    next_try = NOTHING
    if lane.next_try is not None and lane.next_try > now:
        next_try = joined([text(", next try "), moment(lane.next_try, now)])
    return small(text(", ".join(words)), next_try)
