"""Does the accounting find a child that was read before its parents were drained, and a shard that was left out?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poller.demo.books import Line
from poller.demo.clicks.stage import Shard
from poller.demo.clicks.story import Click
from poller.demo.clicks.trace import Sighting
from poller.demo.resharding.accounting import LineageBook, table

LOWER, UPPER, MERGED = "shardId-000000000000", "shardId-000000000001", "shardId-000000000010"

SHARDS = (
    Shard(LOWER, (), True, 0, 4),
    Shard(UPPER, (), True, 5, 9),
    Shard(MERGED, (LOWER, UPPER), False, 0, 9),
)

SEEN = tuple(Sighting(Click("user", number), shard, str(number)) for number, shard in enumerate((LOWER, UPPER, MERGED)))

GOOD = LineageBook(shards=SHARDS, wanted_shards=3, seen=SEEN, drained=2)


def test_a_correct_account_has_no_fault() -> None:
    assert GOOD.discrepancies() == []
    assert (GOOD.done, GOOD.total) == (2, 2)


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"wanted_shards": 4}, "shards: 3, should be 4"),
        ({"drained": 1}, "shards that the daemon has drained: 1, should be 2"),
        ({"seen": SEEN[:2]}, f"nothing of {MERGED} was seen"),
        ({"seen": (SEEN[0], SEEN[2], SEEN[1])}, f"{MERGED} was read before its parent {UPPER} was drained"),
        ({"seen": (*SEEN, SEEN[0])}, f"{MERGED} was read before its parent {LOWER} was drained"),
    ],
)
def test_every_fault_is_named(doctored: dict[str, Any], fault: str) -> None:
    assert replace(GOOD, **doctored).discrepancies() == [f"shards: {fault}"]


def test_there_is_a_line_for_each_shard() -> None:
    assert table(GOOD).lines == [
        Line("0", ["none", "closed", 1, "1 to 1"], "the function's file"),
        Line("1", ["none", "closed", 1, "2 to 2"], "the function's file"),
        Line("10", ["0 and 1", "open", 1, "3 to 3"], "the function's file"),
    ]


def test_a_shard_without_any_record_has_a_line_too() -> None:
    assert table(replace(GOOD, seen=())).lines[2].numbers == ["0 and 1", "open", 0, "none"]
