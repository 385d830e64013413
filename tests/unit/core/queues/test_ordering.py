from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poller.core.queues.ordering import GroupsInHand, groups_of, without_gaps
from poller.model.ids import MessageGroupId

G, H = MessageGroupId("g"), MessageGroupId("h")


def test_a_group_is_taken_by_one_batch_at_a_time() -> None:
    groups = GroupsInHand()
    assert groups.take(frozenset({G}))
    assert not groups.take(frozenset({G, H}))
    assert groups.take(frozenset({H})), "a refused batch takes none of its groups"
    groups.free(frozenset({G, H}))
    assert groups.take(frozenset({G, H}))


def test_messages_without_a_group_never_wait() -> None:
    groups = GroupsInHand()
    assert groups.take(groups_of([None, None]))
    assert groups.take(groups_of([None]))


def test_a_lost_message_removes_the_later_ones_of_its_group() -> None:
    items = [("1", G, False), ("2", H, False), ("3", G, True), ("4", H, False), ("5", G, False)]
    kept = without_gaps(items, is_lost=lambda item: item[2], group_of=lambda item: item[1])
    assert [item[0] for item in kept] == ["1", "2", "4"]


items = st.lists(st.tuples(st.integers(), st.sampled_from([None, G, H]), st.booleans()))


@given(items)
def test_the_kept_messages_are_the_first_ones_of_each_group_and_all_without_a_group(
    batch: list[tuple[int, MessageGroupId | None, bool]],
) -> None:
    kept = without_gaps(batch, is_lost=lambda item: item[2], group_of=lambda item: item[1])
    assert [item for item in kept if item[1] is None] == [item for item in batch if item[1] is None and not item[2]]
    for group in (G, H):
        whole = [item for item in batch if item[1] == group]
        before_the_gap = whole[: next((n for n, item in enumerate(whole) if item[2]), len(whole))]
        assert [item for item in kept if item[1] == group] == before_the_gap
