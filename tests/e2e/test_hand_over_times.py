"""Is a hand-over put together from the right requests?"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.e2e.hand_over_times import Exchange, HandOver, hand_overs, other_ages
from tests.e2e.worker_history import Note

KEY = "clicks/arn/s"
ARRIVALS = {"1": 0.0, "2": 3.0, "3": 9.0}
NOTES = [
    Note("began", 1.0, "a", "s", 2, ["1"]),
    Note("ended", 2.0, "a", "s", 2, ["1"]),
    Note("began", 6.5, "b", "s", 6, ["2"]),
    Note("ended", 7.0, "b", "s", 6, ["2"]),
    Note("began", 9.5, "b", "s", 6, ["3"]),
]


def put(run: str, key: str, counter: int, ended: float, owner: str | None, *offers: str) -> Exchange:
    item: dict[str, Any] = {"leaseKey": {"S": key}, "leaseCounter": {"N": str(counter)}}
    item["details"] = {"S": orjson.dumps({"offers": list(offers)}).decode()}
    if owner is not None:
        item["leaseOwner"] = {"S": owner}
    return Exchange(run, "PutItem", {"Item": item}, {}, ended - 0.1, ended)


def row_read(run: str, ended: float, *offers: str) -> Exchange:
    item = {"leaseKey": {"S": ":worker/b"}, "details": {"S": orjson.dumps({"offers": list(offers)}).decode()}}
    return Exchange(run, "BatchGetItem", {}, {"Responses": {"leases": [item]}}, ended - 0.1, ended)


def iterator(run: str, name: str, ended: float) -> Exchange:
    return Exchange(run, "GetShardIterator", {"ShardId": "s"}, {"ShardIterator": name}, ended - 0.1, ended)


def records_read(run: str, name: str, following: str, ended: float, *records: str) -> Exchange:
    answer = {"NextShardIterator": following, "Records": list(records)}
    return Exchange(run, "GetRecords", {"ShardIterator": name}, answer, ended - 0.1, ended)


GIVEN = put("a", KEY, 5, 4.0, None)
EXCHANGES = [
    put("a", KEY, 4, 3.5, "a"),
    GIVEN,
    put("a", ":worker/b", 9, 4.5, "b", KEY),
    row_read("b", 3.0),
    row_read("b", 5.0, KEY),
    put("b", KEY, 6, 5.5, "b"),
    iterator("b", "i1", 5.75),
    records_read("b", "i1", "i2", 6.0),
    records_read("b", "i2", "i3", 6.25, "2"),
    iterator("a", "j1", 0.5),
]


def found(exchanges: list[Exchange], **stopped: float) -> list[HandOver]:
    return hand_overs(NOTES, exchanges, arrivals=ARRIVALS, stopped=stopped)


def test_a_hand_over_has_the_time_of_each_step() -> None:
    [hand_over] = found(EXCHANGES, a=2.5)
    assert hand_over.at == (2.5, 4.0, 4.5, 5.0, 5.5, 5.75, 6.25, 6.5)
    assert hand_over.parts == [1.5, 0.5, 0.5, 0.5, 0.25, 0.5, 0.25]
    assert (hand_over.without_reader, hand_over.waited, hand_over.age) == (1.5, 3.5, 3.5)


def test_a_hand_over_begins_with_the_end_of_the_last_call_if_it_ends_after_the_signal() -> None:
    assert found(EXCHANGES, a=1.5)[0].at[0] == 2.0


@pytest.mark.parametrize(
    ("left_out", "stopped"),
    [
        ("the lease had expired", {"a": 2.5}),
        ("the worker had not got a signal", {}),
        ("the signal came after the hand-over", {"a": 8.0}),
    ],
)
def test_other_changes_of_the_owner_are_left_out(left_out: str, stopped: dict[str, float]) -> None:
    exchanges = [each for each in EXCHANGES if each is not GIVEN] if "expired" in left_out else EXCHANGES
    assert found(exchanges, **stopped) == []


def test_the_other_ages_are_those_of_calls_that_follow_no_change_of_the_owner() -> None:
    assert other_ages(NOTES, ARRIVALS) == [1.0, 0.5]
