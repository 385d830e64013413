"""Does the screen show what happened, also if it is not a terminal?"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from poller.demo.books import Table
from poller.demo.clicks.tables import clicks
from poller.demo.resharding.accounting import table as shards
from poller.demo.screen import Screen
from poller.demo.signups.tables import mails, queues
from tests.unit.demo.clicks.books import GOOD as CLICKS
from tests.unit.demo.resharding.test_accounting import GOOD as SHARDS
from tests.unit.demo.signups.accounts import GOOD, HELD, STORED
from tests.unit.demo.signups.test_mails import GOOD as MAILS

NARROW = 80
BOTH_QUEUES = [replace(GOOD, queue="buffer-queue.fifo"), replace(GOOD, queue="buffer-queue", is_fifo=False)]


def screen(*, is_terminal: bool = False) -> tuple[Screen, io.StringIO]:
    output = io.StringIO()
    return Screen(Console(file=output, width=NARROW, highlight=False, force_terminal=is_terminal)), output


def cells(output: io.StringIO) -> list[list[str]]:
    """Return the cells of a table, without its heading."""
    lines = [line for line in output.getvalue().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


@pytest.mark.parametrize("table", [queues(BOTH_QUEUES), mails(MAILS), clicks(CLICKS), shards(SHARDS)])
def test_every_table_fits_a_narrow_terminal_without_line_breaks(table: Table) -> None:
    shown, output = screen()
    shown.table(table)
    assert max(map(len, output.getvalue().splitlines())) <= NARROW
    assert cells(output) == [[line.what.strip(), *map(str, line.numbers), line.where] for line in table.lines]


def test_the_verdict_names_every_fault() -> None:
    shown, output = screen()
    shown.verdict(["first fault [1]", "second fault"], 12.3)
    assert "do not add up" in output.getvalue()
    assert "first fault [1]" in output.getvalue()
    assert "second fault" in output.getvalue()


def test_the_first_of_many_faults_are_named_and_the_others_counted() -> None:
    shown, output = screen()
    shown.verdict([f"fault {number}" for number in range(50)], 12.3)
    assert "fault 19\n  … and 30 more\n" in output.getvalue()


def test_without_a_terminal_progress_is_printed_now_and_then_and_always_at_the_end() -> None:
    shown, output = screen()
    with shown.progress() as progress:
        for count in (1, 2):
            progress.show([replace(GOOD, held=replace(HELD, stored=STORED[:count])), MAILS])
        progress.show([GOOD, MAILS])
    assert output.getvalue().splitlines() == [
        "• rows.fifo: 3 of 5: 1 filtered out, 1 stored, 1 failed",
        "• users table: 3 of 3: 3 welcomed by mail",
        "• rows.fifo: 5 of 5: 1 filtered out, 3 stored, 1 failed",
    ]


def test_a_terminal_shows_a_progress_bar_for_each_account() -> None:
    shown, output = screen(is_terminal=True)
    with shown.progress() as progress:
        progress.show([*BOTH_QUEUES, MAILS, CLICKS])
    for name, count in (("buffer-queue.fifo", "5/5"), ("users table", "3/3"), ("clicks", "480/480")):
        assert any(name in line and count in line for line in output.getvalue().splitlines())


def test_the_settings_are_shown_unchanged() -> None:
    shown, output = screen()
    shown.settings(Path("poller.toml"), '[daemon]\nregion = "x"\n')
    assert '[daemon]\nregion = "x"\n' in output.getvalue()
