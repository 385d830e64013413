"""Do the rows of the example cause what the demo promises?"""

from __future__ import annotations

from collections import Counter

from poller.demo.signups.story import CALLED_COMPANY, QUEUES, Row, csv_of, expected, read_rows
from poller.examples.signup.uploads import rows_of


def test_every_row_has_one_expected_outcome() -> None:
    rows = read_rows()
    fates = expected(rows)
    assert (fates.rows, len(fates.filtered_out), len(fates.poisoned), len(fates.stored)) == (240, 24, 4, 212)
    assert len(fates.delayed) == 4
    assert fates.delayed < fates.stored
    assert fates.filtered_out | fates.poisoned | fates.stored == {row.number for row in rows}


def test_every_address_is_in_only_one_row() -> None:
    """The address is the table's key: a second row with it would look like a row that was stored twice."""
    assert {count for _, count in Counter(row.email for row in read_rows()).items()} == {1}


def test_each_failing_row_is_followed_by_healthy_rows_of_its_company() -> None:
    """They are in one batch: a careless function would let them overtake the failing row, or fail them too."""
    rows = read_rows()
    for row, *behind in zip(rows, rows[1:], rows[2:], strict=False):
        if row.is_poisoned or row.is_delayed:
            assert {other.company for other in behind} == {row.company}
            assert not any(other.is_poisoned or other.is_delayed for other in behind)


def test_the_failing_rows_belong_to_different_companies() -> None:
    companies = [row.company for row in read_rows() if row.is_poisoned or row.is_delayed]
    assert len(companies) == len(set(companies))


def test_a_row_without_an_address_that_is_filtered_out_is_not_poisoned() -> None:
    row = Row(number=1, kind="newsletter", name="Ada", email="", company="acme")
    assert row.is_filtered_out
    assert not row.is_poisoned


def test_a_fifo_queue_has_a_fifo_dead_letter_queue() -> None:
    assert all(queue.dead_letter_queue.endswith(".fifo") == queue.is_fifo for queue in QUEUES)
    assert len({queue.dead_letter_queue for queue in QUEUES}) == 2


def test_process_csv_reads_the_rows_that_are_uploaded() -> None:
    rows = read_rows()
    assert rows_of(csv_of(rows), name="users.csv") == [
        {name: str(value) for name, value in row.fields.items()} for row in rows
    ]


def test_the_called_company_has_rows_and_is_not_alone() -> None:
    companies = {row.company for row in read_rows()}
    assert CALLED_COMPANY in companies
    assert len(companies) > 1
