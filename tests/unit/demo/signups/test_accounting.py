"""Is every wrong number found, and named?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.demo.signups.accounts import COUNTED, GOOD, HELD, STORED


def test_a_correct_account_has_no_fault() -> None:
    assert GOOD.discrepancies() == []
    assert GOOD.is_settled
    assert GOOD.is_in_order
    assert GOOD.done == 5


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"left_over": 1}, "messages in the queue at the end: 1, should be 0"),
        ({"stored": STORED[1:]}, "rows stored: 2, should be 3"),
        ({"dead_letter_count": 0, "dead_letters": ()}, "rows in the dead-letter queue: 0, should be 1"),
        ({"dead_letters": (4,)}, "rows in the dead-letter queue that should not be there: 4"),
        ({"stored": (*STORED[1:], STORED[0]._replace(number=2))}, "rows in the table that should not be there: 2"),
        (
            {"stored": (STORED[0]._replace(place=2), STORED[1]._replace(place=1), STORED[2])},
            "company acme: row 3 was stored after row 5",
        ),
    ],
)
def test_the_emulators_content_is_checked(doctored: dict[str, Any], fault: str) -> None:
    assert f"rows.fifo: {fault}" in replace(GOOD, held=replace(HELD, **doctored)).discrepancies()


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"filtered_out": 2}, "records that the daemon filtered out: 2, should be 1"),
        ({"deleted": 3}, "records that the daemon deleted: 3, should be 4"),
        ({"polled": 9}, "records that the daemon polled: 9, should be 8"),
        ({"failed": 5}, "records that the function did not name as failed: 2, but 3 rows are stored, 0 of them twice"),
        ({"failed": 3}, "records that the function did not name as failed: 4, but 3 rows are stored, 0 of them twice"),
        (
            {"failed": 3, "invoked": 6, "polled": 7},
            "records that failed: 3, should be 4 or more",
        ),
    ],
)
def test_the_daemons_numbers_are_compared_with_the_emulators(doctored: dict[str, Any], fault: str) -> None:
    assert f"rows.fifo: {fault}" in replace(GOOD, counted=replace(COUNTED, **doctored)).discrepancies()


def test_a_row_that_was_not_sent_is_a_fault() -> None:
    assert replace(GOOD, sent=4).discrepancies() == ["rows.fifo: rows sent: 4, should be 5"]


def test_a_row_that_was_stored_twice_is_not_a_fault_if_the_daemon_reports_it() -> None:
    twice = replace(HELD, stored=(STORED[0]._replace(times_stored=2), *STORED[1:]))
    known = replace(COUNTED, polled=9, invoked=8)
    assert twice.duplicates == 1
    assert replace(GOOD, held=twice, counted=known).discrepancies() == []


def test_a_standard_queue_promises_no_order() -> None:
    upside_down = (STORED[1]._replace(place=1), STORED[0]._replace(place=2), STORED[2])
    account = replace(GOOD, is_fifo=False, held=replace(HELD, stored=upside_down))
    assert account.discrepancies() == []
    assert not account.is_in_order


def test_each_company_has_an_order_of_its_own() -> None:
    later_row_first = (STORED[0], STORED[1], STORED[2]._replace(company="aaa"))
    assert replace(GOOD, held=replace(HELD, stored=later_row_first)).is_in_order
