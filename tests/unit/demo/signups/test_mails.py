"""Is every missing, unexpected or double mail found, and every wrong number of the daemon?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from poller.demo.signups.mails import CountedMails, MailBook, read_mails
from tests.unit.demo.signups.accounts import STORED

OTHERS = tuple(row._replace(times_stored=row.number - 2) for row in STORED)
"""The other queue's rows, which were stored once, twice and three times."""

COUNTED = CountedMails(polled=9, filtered_out=6, invoked=5, failed=2)

MAILS = tuple(row.email for row in STORED)

GOOD = MailBook(invited=frozenset(MAILS), stored=(*STORED, *OTHERS), mails=MAILS, counted=COUNTED)


def test_a_correct_account_has_no_fault() -> None:
    assert GOOD.discrepancies() == []
    assert (GOOD.done, GOOD.total, GOOD.changes) == (3, 3, 9)


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"mails": MAILS[1:]}, "mails missing: c@acme.example"),
        ({"mails": (*MAILS, "x@acme.example")}, "mails too many: x@acme.example"),
        ({"mails": (*MAILS, MAILS[0])}, "mails to an address that has one: 1, should be 0"),
        ({"stored": STORED}, "records that the daemon polled: 9, should be 3"),
    ],
)
def test_the_content_of_the_folder_and_of_the_table_is_checked(doctored: dict[str, Any], fault: str) -> None:
    assert f"users table: {fault}" in replace(GOOD, **doctored).discrepancies()


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"polled": 8}, "records that the daemon polled: 8, should be 9"),
        ({"filtered_out": 5}, "records that the daemon filtered out: 5, should be 6"),
        ({"invoked": 6}, "records that the function took: 4, should be 3"),
        ({"failed": 3}, "records that the function took: 2, should be 3"),
    ],
)
def test_the_daemons_numbers_are_compared_with_both(doctored: dict[str, Any], fault: str) -> None:
    assert replace(GOOD, counted=replace(COUNTED, **doctored)).discrepancies() == [f"users table: {fault}"]


def test_only_a_few_of_many_missing_mails_are_named() -> None:
    book = replace(GOOD, invited=frozenset(f"{letter}@acme.example" for letter in "abcdefgh"), mails=())
    [missing] = [fault for fault in book.discrepancies() if "missing" in fault]
    assert missing.endswith("missing: a@acme.example, b@acme.example, c@acme.example, d@acme.example, e@acme.example …")


def test_a_mail_is_identified_by_its_address_and_an_unfinished_file_is_not_a_mail(tmp_path: Path) -> None:
    (tmp_path / "1.eml").write_text("From: me@acme.example\nTo: you@acme.example\n\nHello\n", encoding="utf-8")
    (tmp_path / "2.4711").write_text("From: me@acme.example\n", encoding="utf-8")
    assert read_mails(tmp_path) == ["you@acme.example"]
