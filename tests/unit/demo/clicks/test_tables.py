"""Do the tables of the clicks show the account?"""

from __future__ import annotations

import json
from dataclasses import replace

from poller.demo.books import Line
from poller.demo.clicks.story import POISON
from poller.demo.clicks.tables import clicks, failures
from tests.unit.demo.clicks.books import GOOD, HEALTHY


def test_the_outcome_of_the_clicks_is_shown() -> None:
    lines = clicks(GOOD).lines
    assert [line.numbers for line in lines[:6]] == [[480], [480], [479], [1], [2], ["kept"]]
    assert lines[-1] == Line("shards", [10], "the function's file")


def test_a_broken_order_is_shown() -> None:
    table = clicks(replace(GOOD, seen=HEALTHY[::-1]))
    assert Line("order of each user", ["broken"], "the function's file") in table.lines


def test_the_whole_invocation_record_and_the_raw_record_that_it_names_are_shown() -> None:
    record, named = failures(GOOD)
    assert json.loads(record.partition("\n")[2]) == GOOD.reported[0].record
    assert named.endswith(POISON.data.decode())
