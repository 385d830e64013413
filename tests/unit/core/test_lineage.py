from __future__ import annotations

import pytest

from poller.core.lineage import Lineage, Listed, Start, first_positions
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


def lineage(stored: dict[str, Position]) -> Lineage:
    return Lineage({ShardId(name): position for name, position in stored.items()})


def started(known: Lineage) -> dict[str, Position]:
    return dict(known.startable())


def test_split_siblings_are_read_side_by_side_after_their_parent() -> None:
    known = lineage({})
    assert known.listed(SPLIT).found == {"parent": HORIZON, "left": HORIZON, "right": HORIZON}
    assert started(known) == {"parent": HORIZON}
    assert (known.reading, known.waiting) == (1, 2)
    known.drained(ShardId("parent"))
    assert known.startable() == [Start(ShardId("left"), HORIZON), Start(ShardId("right"), HORIZON)]
    assert (known.reading, known.waiting, known.finished) == (2, 0, 1)


def test_a_merge_child_waits_for_both_parents() -> None:
    known = lineage({})
    known.listed(MERGE)
    assert started(known) == {"a": HORIZON, "b": HORIZON}
    known.drained(ShardId("a"))
    assert started(known) == {}
    known.drained(ShardId("b"))
    assert started(known) == {"child": HORIZON}


def test_a_shard_is_given_out_once() -> None:
    known = lineage({})
    known.listed([shard("a")])
    assert started(known) == {"a": HORIZON}
    assert started(known) == {}
    known.listed([shard("a")])
    assert started(known) == {}


def test_a_parent_that_expired_does_not_block() -> None:
    known = lineage({})
    known.listed([shard("child", "long gone", "also gone")])
    assert started(known) == {"child": HORIZON}


def test_a_drained_parent_does_not_block_after_a_restart() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE})
    assert known.listed(SPLIT).found == {"right": HORIZON}
    assert started(known) == {"left": SOMEWHERE, "right": HORIZON}


def test_a_parent_that_is_half_read_blocks_after_a_restart() -> None:
    known = lineage({"parent": SOMEWHERE, "left": HORIZON, "right": HORIZON})
    known.listed(SPLIT)
    assert started(known) == {"parent": SOMEWHERE}


def test_shards_found_while_running_wait_for_their_parent() -> None:
    known = lineage({"parent": SOMEWHERE})
    known.listed([shard("parent")])
    known.startable()
    assert known.listed(SPLIT).found == {"left": HORIZON, "right": HORIZON}
    assert started(known) == {}
    known.drained(ShardId("parent"))
    assert started(known) == {"left": HORIZON, "right": HORIZON}


def test_shards_found_after_their_parent_was_drained_begin_at_once() -> None:
    known = lineage({"parent": SOMEWHERE})
    known.listed([closed("parent")])
    known.startable()
    known.drained(ShardId("parent"))
    known.listed(SPLIT)
    assert started(known) == {"left": HORIZON, "right": HORIZON}


def test_a_parent_that_expires_before_it_was_begun_leaves_its_children_to_wait_for_what_it_waited_for() -> None:
    """What is in hand of the grandparent must not be overtaken."""
    known = lineage({})
    known.listed([closed("grandparent"), closed("parent", "grandparent"), shard("child", "parent")])
    assert started(known) == {"grandparent": HORIZON}
    assert known.listed([closed("grandparent"), shard("child", "parent")]).gone == {"parent"}
    assert started(known) == {}
    known.drained(ShardId("grandparent"))
    assert started(known) == {"child": HORIZON}


def test_so_it_does_where_its_children_are_found_by_the_listing_that_it_is_missing_from() -> None:
    known = lineage({})
    known.listed([closed("grandparent"), shard("parent", "grandparent")])
    assert started(known) == {"grandparent": HORIZON}
    known.listed([shard("child", "parent")])
    assert started(known) == {}
    known.drained(ShardId("grandparent"))
    assert started(known) == {"child": HORIZON}


def test_a_parent_that_expires_while_it_is_read_blocks_until_it_is_done() -> None:
    known = lineage({})
    known.listed(SPLIT)
    known.startable()
    assert known.listed(SPLIT[:2]).gone == frozenset()
    assert started(known) == {}
    known.drained(ShardId("parent"))
    assert started(known) == {"left": HORIZON, "right": HORIZON}
    assert known.listed(SPLIT[:2]).gone == {"parent"}


def test_a_shard_that_expires_before_it_was_begun_is_not_begun() -> None:
    known = lineage({})
    known.listed([shard("a"), shard("b")])
    assert known.listed([shard("b")]).lost == {"a"}
    assert started(known) == {"b": HORIZON}


def test_a_drained_shard_is_remembered_while_it_is_listed() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE, "right": SOMEWHERE})
    assert known.listed(SPLIT) == Listed({}, frozenset())
    assert known.listed(SPLIT[:2]) == Listed({}, frozenset({ShardId("parent")}))
    assert known.listed(SPLIT[:2]) == Listed({}, frozenset())


def test_a_drained_shard_that_is_open_is_of_another_stream() -> None:
    known = lineage({"parent": END, "left": SOMEWHERE})
    assert known.reopened([closed("parent"), shard("left"), shard("right")]) == []
    assert known.reopened([shard("parent"), shard("left")]) == ["parent"]


def test_an_empty_listing_forgets_nothing() -> None:
    known = lineage({"a": SOMEWHERE})
    assert known.listed([]) == Listed({}, frozenset())
    known.listed([shard("a")])
    assert started(known) == {"a": SOMEWHERE}


def test_after_a_long_absence_shards_without_known_ancestors_are_read_from_their_beginning() -> None:
    known = lineage({"ancestor": SOMEWHERE})
    listed = known.listed([shard("grandchild", "never seen")])
    ancestor = frozenset({ShardId("ancestor")})
    assert listed == Listed({ShardId("grandchild"): HORIZON}, gone=ancestor, lost=ancestor)
    assert started(known) == {"grandchild": HORIZON}


def test_trim_horizon_begins_with_all_listed_shards() -> None:
    assert first_positions(SPLIT, HORIZON) == {"parent": HORIZON, "left": HORIZON, "right": HORIZON}


def test_a_timestamp_holds_for_all_listed_shards_ancestors_first() -> None:
    since = AtTimestamp(1_700_000_000.0)
    stored = first_positions(SPLIT, since)
    known = Lineage(stored)
    assert known.listed(SPLIT).found == {}
    assert started(known) == {"parent": since}
    known.drained(ShardId("parent"))
    assert started(known) == {"left": since, "right": since}


def test_latest_begins_with_the_open_shards_and_passes_over_the_closed_ones() -> None:
    stored = first_positions(SPLIT, Latest())
    assert stored == {"parent": END, "left": Latest(), "right": Latest()}
    known = Lineage(stored | {ShardId("left"): SOMEWHERE, ShardId("right"): SOMEWHERE})
    known.listed(SPLIT)
    assert started(known) == {"left": SOMEWHERE, "right": SOMEWHERE}


def test_after_latest_a_shard_found_later_is_read_from_its_beginning() -> None:
    known = lineage({"parent": SOMEWHERE})
    known.listed(SPLIT)
    known.startable()
    known.drained(ShardId("parent"))
    assert started(known) == {"left": HORIZON, "right": HORIZON}


def test_to_drain_what_was_never_begun_is_a_fault_of_ours() -> None:
    known = lineage({})
    known.listed(SPLIT)
    with pytest.raises(AssertionError):
        known.drained(ShardId("left"))
