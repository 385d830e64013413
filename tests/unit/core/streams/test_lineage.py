from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from poller.core.streams.lineage import Lineage, Listing, by_generation, drained_ancestors, first_positions
from poller.model.stream import (
    AfterSequence,
    AtTimestamp,
    Latest,
    Position,
    SequenceNumber,
    Shard,
    ShardEnd,
    ShardId,
    TrimHorizon,
)

HORIZON = TrimHorizon()
END = ShardEnd()
SOMEWHERE = AfterSequence(SequenceNumber("7"))


def shard(name: str, *parents: str, is_open: bool = True) -> Shard:
    return Shard(ShardId(name), tuple(ShardId(parent) for parent in parents), is_open)


def closed(name: str, *parents: str) -> Shard:
    return shard(name, *parents, is_open=False)


SPLIT = [shard("right", "parent"), shard("left", "parent"), closed("parent")]
MERGE = [shard("child", "a", "b"), closed("a"), closed("b")]


NOW = 1_767_225_600.0
MEMORY = 90_000.0


def lineage(stored: Mapping[Any, Position], *, drained_at: float = NOW) -> Lineage:
    """Return a lineage of these shards, of which those at END are drained."""
    ended = {ShardId(name): drained_at for name, position in stored.items() if position == END}
    return Lineage([ShardId(name) for name in stored], ended, memory_in_seconds=MEMORY)


def listed(
    known: Lineage,
    shards: list[Shard],
    *,
    now: float = NOW,
    is_complete: bool = True,
    drained_elsewhere: Collection[str] = (),
) -> Listing:
    """Apply a listing, and return the result."""
    listing = known.compared(shards, now=now, is_complete=is_complete)
    known.take_in(listing, {ShardId(name): now for name in drained_elsewhere})
    return listing


def started(known: Lineage) -> set[ShardId]:
    return set(known.startable())


def drained(known: Lineage, name: str, *, now: float = NOW) -> bool:
    """Drain a shard, and return whether a child of it is known."""
    return known.drained(ShardId(name), now=now)


def test_the_children_of_a_split_are_read_at_the_same_time_after_their_parent() -> None:
    known = lineage({})
    assert listed(known, SPLIT).found == {"parent", "left", "right"}
    assert started(known) == {"parent"}
    assert (known.reading, known.waiting) == (1, 2)
    drained(known, "parent")
    assert known.startable() == ["left", "right"]
    assert (known.reading, known.waiting, known.finished) == (2, 0, 1)


def test_the_child_of_a_merge_waits_for_both_parents() -> None:
    known = lineage({})
    listed(known, MERGE)
    assert started(known) == {"a", "b"}
    drained(known, "a")
    assert started(known) == set()
    drained(known, "b")
    assert started(known) == {"child"}


def test_a_shard_is_returned_for_reading_once() -> None:
    known = lineage({})
    listed(known, [shard("a")])
    assert started(known) == {"a"}
    assert started(known) == set()
    listed(known, [shard("a")])
    assert started(known) == set()


def test_a_parent_that_expired_does_not_block() -> None:
    known = lineage({})
    listed(known, [shard("child", "long gone", "also gone")])
    assert started(known) == {"child"}


def test_a_drained_parent_does_not_block_after_a_restart() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE})
    assert listed(known, SPLIT).found == {"right"}
    assert started(known) == {"left", "right"}


def test_a_parent_that_is_half_read_blocks_after_a_restart() -> None:
    known = lineage({"parent": SOMEWHERE, "left": HORIZON, "right": HORIZON})
    listed(known, SPLIT)
    assert started(known) == {"parent"}


def test_shards_found_while_running_wait_for_their_parent() -> None:
    known = lineage({"parent": SOMEWHERE})
    listed(known, [shard("parent")])
    known.startable()
    assert listed(known, SPLIT).found == {"left", "right"}
    assert started(known) == set()
    drained(known, "parent")
    assert started(known) == {"left", "right"}


def test_shards_found_after_their_parent_was_drained_begin_at_once() -> None:
    known = lineage({"parent": SOMEWHERE})
    listed(known, [closed("parent")])
    known.startable()
    drained(known, "parent")
    listed(known, SPLIT)
    assert started(known) == {"left", "right"}


def test_a_listing_that_leaves_out_a_waiting_parent_frees_none_of_its_children() -> None:
    known = lineage({})
    listed(known, [closed("grandparent"), closed("parent", "grandparent"), shard("child", "parent")])
    assert started(known) == {"grandparent"}
    assert listed(known, [closed("grandparent"), shard("child", "parent")]).gone == frozenset()
    drained(known, "grandparent")
    assert started(known) == {"parent"}, "reading it tells whether it has left"
    drained(known, "parent")
    assert started(known) == {"child"}


def test_a_child_that_is_found_by_the_listing_that_leaves_out_its_parent_waits_for_it() -> None:
    known = lineage({})
    listed(known, [closed("grandparent"), shard("parent", "grandparent")])
    assert started(known) == {"grandparent"}
    listed(known, [shard("child", "parent")])
    drained(known, "grandparent")
    assert started(known) == {"parent"}
    drained(known, "parent")
    assert started(known) == {"child"}


def test_a_parent_that_is_read_and_not_listed_any_more_blocks_until_it_is_done() -> None:
    known = lineage({})
    listed(known, [closed("parent")])
    known.startable()
    listed(known, [shard("left", "parent")])
    listed(known, SPLIT[:2])
    assert started(known) == set()
    assert drained(known, "parent") is True
    assert started(known) == {"left", "right"}


def test_a_stored_shard_that_one_listing_leaves_out_still_waits_for_its_parent() -> None:
    """After a restart only a listing shows which shard is its parent."""
    known = lineage({"parent": SOMEWHERE, "left": HORIZON, "right": HORIZON})
    listed(known, [shard("left", "parent"), closed("parent")])
    assert started(known) == {"parent"}
    listed(known, SPLIT)
    assert started(known) == set()
    drained(known, "parent")
    assert started(known) == {"left", "right"}


def test_a_stored_shard_that_two_listings_leave_out_begins_at_its_stored_position() -> None:
    known = lineage({"a": SOMEWHERE, "b": SOMEWHERE})
    listed(known, [shard("b"), shard("child", "a")])
    assert started(known) == {"b"}
    listed(known, [shard("b"), shard("child", "a")])
    assert started(known) == {"a"}
    drained(known, "a")
    assert started(known) == {"child"}


def test_an_empty_listing_does_not_count_as_one_of_the_two() -> None:
    known = lineage({"a": SOMEWHERE, "b": SOMEWHERE})
    listed(known, [shard("b")])
    listed(known, [])
    assert started(known) == {"b"}
    listed(known, [shard("b")])
    assert started(known) == {"a"}


def test_a_listing_of_some_shards_does_not_count_as_one_of_the_two() -> None:
    known = lineage({"a": SOMEWHERE, "b": SOMEWHERE})
    listed(known, [shard("b")])
    listed(known, [shard("b")], is_complete=False)
    assert started(known) == {"b"}


def test_a_forgotten_shard_that_is_listed_again_counts_as_new() -> None:
    known = lineage({"old": END, "a": SOMEWHERE}, drained_at=NOW - MEMORY - 1)
    listed(known, [closed("old"), shard("a")])
    assert listed(known, [shard("a")]).gone == {"old"}
    known.startable()
    assert listed(known, [closed("old"), shard("a")]).found == {"old"}
    assert started(known) == {"old"}


def test_a_shard_that_is_left_out_and_listed_again_is_not_returned_again() -> None:
    known = lineage({})
    listed(known, [shard("a"), shard("b")])
    known.startable()
    listed(known, [shard("b")])
    assert listed(known, [shard("a"), shard("b")]).found == set()
    assert started(known) == set()


def test_a_drained_shard_is_remembered_while_it_is_listed_however_old_it_is() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE, "right": SOMEWHERE}, drained_at=NOW - 10 * MEMORY)
    listing = listed(known, SPLIT)
    assert listing.found == set()
    assert listing.gone == frozenset()


def test_a_drained_shard_that_is_not_listed_is_remembered_as_long_as_its_stream_may_have_it() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE, "right": SOMEWHERE})
    listed(known, SPLIT)
    assert listed(known, SPLIT[:2], now=NOW + MEMORY).gone == frozenset()
    assert listed(known, SPLIT, now=NOW + MEMORY).found == set(), "it is listed again"
    assert "parent" not in started(known)
    assert listed(known, SPLIT[:2], now=NOW + MEMORY + 1).gone == {"parent"}
    assert listed(known, SPLIT[:2], now=NOW + MEMORY + 1).gone == frozenset()


def test_the_time_to_remember_a_shard_begins_when_it_is_drained() -> None:
    known = lineage({"parent": SOMEWHERE})
    listed(known, SPLIT)
    known.startable()
    drained(known, "parent", now=NOW + 5)
    assert listed(known, SPLIT[:2], now=NOW + 5 + MEMORY).gone == frozenset()
    assert listed(known, SPLIT[:2], now=NOW + 6 + MEMORY).gone == {"parent"}


def test_a_listing_that_was_not_stored_changes_nothing() -> None:
    """The next listing finds the same."""
    known = lineage({"parent": SOMEWHERE, "old": END}, drained_at=NOW - MEMORY - 1)
    first = known.compared(SPLIT, now=NOW)
    assert first == known.compared(SPLIT, now=NOW)
    assert first.found == {"left", "right"}
    assert first.gone == {"old"}
    assert started(known) == set()


def test_a_listing_of_some_shards_does_not_end_the_others() -> None:
    known = lineage({"parent": SOMEWHERE, "a": SOMEWHERE, "old": END}, drained_at=NOW - MEMORY - 1)
    listed(known, [closed("parent"), shard("a"), closed("old")])
    known.startable()
    drained(known, "parent")
    listing = listed(known, SPLIT[:2], is_complete=False)
    assert listing.found == {"left", "right"}
    assert listing.gone == frozenset()
    assert started(known) == {"left", "right"}
    assert (known.reading, known.finished) == (3, 2)


def test_the_lineage_says_whether_a_child_of_a_drained_shard_is_known() -> None:
    known = lineage({})
    listed(known, [shard("childless"), *SPLIT])
    known.startable()
    assert drained(known, "childless") is False
    assert drained(known, "parent") is True


def test_all_shards_count_as_drained_some_time_after_the_last_one_is_drained() -> None:
    known = lineage({})
    assert not known.is_drained(before=NOW)
    listed(known, [closed("a"), closed("b", "a")])
    known.startable()
    drained(known, "a", now=NOW)
    assert not known.is_drained(before=NOW + 1)
    known.startable()
    assert not known.is_drained(before=NOW + 1)
    drained(known, "b", now=NOW + 5)
    assert not known.is_drained(before=NOW + 5)
    assert known.is_drained(before=NOW + 6)
    listed(known, [shard("c", "b")])
    assert not known.is_drained(before=NOW + 6)


def test_a_drained_shard_that_is_open_belongs_to_another_stream() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE})
    others = [shard("left"), shard("right")]
    assert known.reopened([closed("parent"), *others], drained_before=NOW + 1) == []
    assert known.reopened([shard("parent"), *others], drained_before=NOW + 1) == ["parent"]
    assert known.reopened([shard("parent"), *others], drained_before=NOW) == [], "the listing may be older"


def test_an_empty_listing_changes_nothing() -> None:
    known = lineage({"a": SOMEWHERE, "old": END}, drained_at=NOW - MEMORY - 1)
    listing = listed(known, [])
    assert listing.found == set()
    assert listing.gone == frozenset()
    listed(known, [])
    assert started(known) == set()
    listed(known, [shard("a")])
    assert started(known) == {"a"}


def test_after_a_long_absence_shards_without_known_ancestors_are_read_from_their_beginning() -> None:
    known = lineage({"ancestor": SOMEWHERE})
    assert listed(known, [shard("grandchild", "never seen")]).found == {"grandchild"}
    assert started(known) == {"grandchild"}


def test_trim_horizon_begins_with_all_listed_shards() -> None:
    assert first_positions(SPLIT, HORIZON) == {"parent": HORIZON, "left": HORIZON, "right": HORIZON}


def test_a_timestamp_holds_for_all_listed_shards() -> None:
    since = AtTimestamp(1_700_000_000.0)
    stored = first_positions(SPLIT, since)
    assert stored == dict.fromkeys(["parent", "left", "right"], since)


def test_latest_begins_with_the_open_shards_and_passes_over_the_closed_ones() -> None:
    stored = first_positions(SPLIT, Latest())
    assert stored == {"parent": END, "left": Latest(), "right": Latest()}
    known = lineage(stored | {ShardId("left"): SOMEWHERE, ShardId("right"): SOMEWHERE})
    listed(known, SPLIT)
    assert started(known) == {"left", "right"}


def test_after_latest_a_shard_found_later_is_read_from_its_beginning() -> None:
    known = lineage({"parent": SOMEWHERE})
    listed(known, SPLIT)
    known.startable()
    drained(known, "parent")
    assert started(known) == {"left", "right"}


def test_draining_a_shard_that_was_never_begun_is_a_fault_of_poller() -> None:
    known = lineage({})
    listed(known, SPLIT)
    with pytest.raises(AssertionError):
        drained(known, "left")


def test_a_closed_child_counts_as_drained_with_latest_too() -> None:
    parent, child = Shard(ShardId("p"), (), False), Shard(ShardId("c"), (ShardId("p"),), False)
    assert set(first_positions([parent, child], Latest()).values()) == {ShardEnd()}


def test_a_known_shard_whose_parent_left_long_ago_needs_no_whole_listing() -> None:
    lineage = Lineage([ShardId("c")], {}, memory_in_seconds=1000)
    assert lineage.knows_parents_of([Shard(ShardId("c"), (ShardId("long-gone"),), True)])


def test_only_drained_shards_that_are_listed_count_as_finished() -> None:
    stored = [ShardId("listed"), ShardId("left-out")]
    lineage = Lineage(stored, dict.fromkeys(stored, 0.0), memory_in_seconds=1000)
    lineage.take_in(lineage.compared([Shard(ShardId("listed"), (), False)], now=1.0), {})
    assert lineage.finished == 1


def test_the_children_of_a_new_shard_that_another_worker_has_drained_begin_at_once() -> None:
    known = lineage({})
    listed(known, SPLIT, drained_elsewhere=["parent"])
    assert started(known) == {"left", "right"}
    assert (known.finished, known.waiting) == (1, 0)


def test_the_rows_of_parents_come_before_those_of_their_children() -> None:
    shards = [shard("grandchild", "child"), *MERGE, closed("alone", "long gone")]
    generations = [{each.shard_id for each in generation} for generation in by_generation(shards)]
    assert generations == [{"a", "b", "alone"}, {"child"}, {"grandchild"}]


def test_shards_that_a_faulty_listing_calls_their_own_ancestors_come_last() -> None:
    shards = [shard("a", "b"), shard("b", "a"), shard("alone")]
    generations = [{each.shard_id for each in generation} for generation in by_generation(shards)]
    assert generations == [{"alone"}, {"a", "b"}]


def test_only_closed_ancestors_without_a_row_of_a_known_shard_count_as_drained() -> None:
    shards = [
        closed("grandparent"),
        closed("parent", "grandparent"),
        shard("child", "parent", "open", "stored"),
        shard("open"),
        closed("before", "grandparent"),
        closed("stored", "before"),
        closed("another"),
        shard("unknown", "another"),
    ]
    known = [ShardId("child"), ShardId("stored")]
    assert drained_ancestors(shards, known, unlisted=[]) == {"grandparent", "parent", "before"}
    assert drained_ancestors(shards, [], unlisted=[]) == frozenset()
    assert drained_ancestors(shards, known, unlisted=[ShardId("before")]) == {"grandparent", "parent"}
    assert drained_ancestors(shards, known, unlisted=[ShardId("before"), ShardId("parent")]) == frozenset()
