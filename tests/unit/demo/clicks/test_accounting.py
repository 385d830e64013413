"""Is every lost, invented or disordered click found, and every number that does not agree?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from poller.demo.clicks.story import POISON, Click
from poller.demo.clicks.trace import Sighting
from tests.unit.demo.clicks.books import AT, COUNTED, GOOD, HEALTHY, PUT, report

STRANGER = Sighting(Click("user-99", 1), "shard-9", "0")


def test_a_correct_account_has_no_fault() -> None:
    assert GOOD.discrepancies() == []
    assert GOOD.is_settled
    assert GOOD.is_in_order
    assert (GOOD.done, GOOD.total, GOOD.repeats) == (480, 480, 2)


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"put": PUT[1:]}, "clicks put: 479, should be 480"),
        ({"seen": HEALTHY[1:]}, "clicks seen missing: click 1 of user-01"),
        ({"seen": (*HEALTHY, STRANGER)}, "clicks seen too many: click 1 of user-99"),
        ({"seen": (*HEALTHY, AT)}, "clicks seen too many: click 9 of user-07"),
        (
            {"seen": (HEALTHY[0]._replace(shard="shard-x"), *HEALTHY[1:])},
            "click 1 of user-01 was put elsewhere than at shard-x:0001",
        ),
    ],
)
def test_every_click_is_seen_where_it_was_put(doctored: dict[str, Any], fault: str) -> None:
    assert f"clicks: {fault}" in replace(GOOD, **doctored).discrepancies()


@pytest.mark.parametrize(
    ("reported", "fault"),
    [
        ([], "invocation records: 0, should be 1"),
        ([report(), report()], "invocation records: 2, should be 1"),
        ([report(batchSize=2)], "a record names 2 records at [('shard-7', '0807')], should name 1"),
        ([report(shardId="shard-x")], "a record names 1 records at [('shard-x', '0807')], should name 1"),
        ([report(endSequenceNumber="0907")], "names 1 records at [('shard-7', '0807'), ('shard-7', '0907')], should"),
        ([report(startSequenceNumber="0707")], "names 1 records at [('shard-7', '0707'), ('shard-7', '0807')], should"),
        ([report()._replace(data=b"{}")], "the invocation record names the data b'{}', should be b'"),
        (
            [report()._replace(record={**report().record, "requestContext": {"approximateInvokeCount": 2}})],
            "invocations with the poison alone: 2, should be 3",
        ),
    ],
)
def test_the_invocation_record_must_name_the_poison_alone(reported: list[Any], fault: str) -> None:
    assert any(fault in found for found in replace(GOOD, reported=reported).discrepancies())


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"polled": 481}, "records that the daemon polled: 481, should be 480"),
        ({"discarded": 2}, "records that the daemon discarded: 2, should be 1"),
        ({"delivered": 0}, "discarded records whose invocation record was delivered: 0, should be 1"),
        ({"invoked": 486}, "records that the function took: 480, should be 479"),
        ({"invoked": 479, "failed": 0}, "clicks seen again: 2, but only 0 were in a batch that failed"),
        ({"bisections": 0}, "no batch was bisected, so the poison was never alone"),
    ],
)
def test_the_daemons_numbers_are_compared_with_the_others(doctored: dict[str, Any], fault: str) -> None:
    assert replace(GOOD, counted=replace(COUNTED, **doctored)).discrepancies() == [f"clicks: {fault}"]


def test_a_users_click_before_an_earlier_one_is_a_broken_order() -> None:
    first, second = (sighting for sighting in HEALTHY if sighting.click in {("user-02", 4), ("user-02", 5)})
    upside_down = [{first: second, second: first}.get(sighting, sighting) for sighting in HEALTHY]
    book = replace(GOOD, seen=upside_down)
    assert not book.is_in_order
    assert book.discrepancies() == ["clicks: click 4 of user-02 was first seen after click 5"]


def test_one_overtaken_click_is_one_fault() -> None:
    """The first click comes last: it alone is out of order, not the nineteen before it."""
    late = [*HEALTHY[1:], HEALTHY[0]]
    assert replace(GOOD, seen=late).discrepancies() == ["clicks: click 1 of user-01 was first seen after click 20"]


def test_each_user_has_an_order_of_its_own() -> None:
    assert replace(GOOD, seen=sorted(HEALTHY)).is_in_order


def test_a_late_repetition_of_a_click_does_not_break_the_order() -> None:
    assert replace(GOOD, seen=(*HEALTHY, HEALTHY[0])).discrepancies() == []


def test_an_account_without_any_event_is_not_settled() -> None:
    empty = replace(GOOD, put=(), seen=(), reported=(), counted=replace(COUNTED, polled=0))
    assert not empty.is_settled
    assert empty.is_in_order
    assert POISON in {sighting.click for sighting in PUT}


def test_after_the_death_of_a_worker_only_its_counts_may_differ() -> None:
    again = report()._replace(record={**report().record, "requestContext": {"approximateInvokeCount": 5}})
    died = replace(GOOD, counted=replace(COUNTED, polled=7, invoked=8, are_exact=False), reported=[report(), again])
    assert died.discrepancies() == []
    assert replace(died, counted=COUNTED).discrepancies()
    for doctored in (
        replace(died, seen=HEALTHY[1:]),
        replace(died, seen=tuple(reversed(HEALTHY))),
        replace(died, reported=[]),
        replace(died, reported=[report(batchSize=2)]),
    ):
        assert doctored.discrepancies()
