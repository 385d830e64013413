"""Does the checker of several workers find what it must find? Each rule is broken once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.worker_history import Note, Summary, check, gaps

RECORDS = {"s": ["1", "2", "3", "4"], "child": ["5", "6"]}
PARENTS = {"child": ["s"]}


def call(at: float, worker: str, token: int, *numbers: str, shard: str = "s", seconds: float = 1.0) -> list[Note]:
    begin = Note("began", at, worker, shard, token, list(numbers))
    return [begin, begin._replace(what="ended", at=at + seconds)]


FIRST = call(0, "a", 2, "1", "2")
SECOND = call(10, "b", 5, "3", "4")
CHILD = call(20, "b", 2, "5", "6", shard="child")


def checked(*notes: Note, **pauses: int) -> Summary:
    return check(notes, RECORDS, parents=PARENTS, pauses=pauses)


def test_two_workers_that_follow_each_other_break_no_rule() -> None:
    assert checked(*FIRST, *SECOND, *CHILD) == Summary(
        records=6, calls=3, repeated=0, owners=3, refused=0, seconds_repeated=0
    )


def test_records_may_be_repeated_after_a_death() -> None:
    assert checked(*FIRST, *call(10, "b", 5, "2", "3", "4"), *CHILD).repeated == 1
    assert checked(FIRST[0], *call(10, "b", 5, "1", "2", "3", "4"), *CHILD).repeated == 2


def test_only_records_that_an_owner_has_handed_over_in_its_last_seconds_may_be_repeated() -> None:
    def history(last_call_but_one_at: float) -> list[Note]:
        own = [*call(0, "a", 2, "1"), *call(last_call_but_one_at, "a", 2, "2"), *call(60, "a", 2, "3")]
        return [*own, *call(70, "b", 5, "1", "2", "3", "4"), *call(80, "b", 2, "5", "6", shard="child")]

    assert checked(*history(9.5)).seconds_repeated == 9.5
    with pytest.raises(AssertionError, match=r"1 was done 10.5 s before"):
        checked(*history(10.5))


def test_a_worker_may_begin_one_call_with_an_old_token_for_each_of_its_pauses() -> None:
    late = call(11.5, "a", 2, "3")
    assert checked(*FIRST, *SECOND, *CHILD, *late, a=1).refused == 1
    with pytest.raises(AssertionError, match="a has begun 1 calls of s with an old token"):
        checked(*FIRST, *SECOND, *CHILD, *late)
    with pytest.raises(AssertionError, match="a has begun 2 calls of s with an old token"):
        checked(*FIRST, *SECOND, *CHILD, *late, *late, a=1)


def test_the_gaps_are_the_times_between_two_owners_of_a_shard() -> None:
    late = call(10.5, "a", 2, "3")
    assert gaps([*FIRST, *SECOND, *CHILD, *late, *call(13, "c", 9, "4")]) == [9.0, 2.0]


@pytest.mark.parametrize(
    ("notes", "fault"),
    [
        ([*FIRST, *CHILD], "parent were not done"),
        ([*FIRST, *SECOND], "2 records of 6 are lost"),
        ([*FIRST, SECOND[0]], "4 records of 6 are lost"),
        ([*call(0, "a", 2, "2", "3")], "1 was not done"),
        ([*call(0, "a", 2, "1", "3")], "3 does not follow 1"),
        ([*call(0, "a", 2, "2", "1")], "out of order"),
        ([*FIRST, *call(0.5, "a", 2, "3")], "two calls at a time"),
        ([*FIRST, *call(10, "b", 2, "3", "4")], "a and b have the same token"),
    ],
)
def test_a_broken_rule_is_found(notes: Any, fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        checked(*notes)


def test_the_records_of_a_refused_call_do_not_count_as_done() -> None:
    with pytest.raises(AssertionError, match="are lost"):
        check([*call(0, "b", 5, "1"), *call(5, "a", 2, "2")], {"s": ["1", "2"]}, parents={}, pauses={"a": 1})
