"""Does the screen say what happened, also where it is no terminal?"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from poller.demo.screen import Screen
from tests.unit.demo.accounts import GOOD, HELD, STORED

OTHER = replace(GOOD, queue="rows", is_fifo=False)


def screen() -> tuple[Screen, io.StringIO]:
    output = io.StringIO()
    return Screen(Console(file=output, width=80, highlight=False)), output


def line_with(text: str, output: io.StringIO) -> list[str]:
    [line] = [line for line in output.getvalue().splitlines() if text in line]
    return line.replace("│", " ").split()


def test_the_table_has_a_column_for_each_queue_and_fits_a_narrow_terminal() -> None:
    shown, output = screen()
    shown.table([GOOD, OTHER])
    assert line_with("sent", output)[:3] == ["sent", "5", "5"]
    assert line_with("failed for good", output)[3:5] == ["1", "1"]
    assert line_with("order in each company", output)[4:8] == ["kept", "not", "promised", "table"]
    assert max(map(len, output.getvalue().splitlines())) <= 80


def test_a_broken_order_is_shown() -> None:
    shown, output = screen()
    upside_down = (STORED[0]._replace(place=2), STORED[1]._replace(place=1))
    shown.table([replace(GOOD, held=replace(HELD, stored=upside_down))])
    assert "broken" in line_with("order in each company", output)


def test_the_verdict_names_every_fault() -> None:
    shown, output = screen()
    shown.verdict(["first fault [1]", "second fault"], 12.3)
    assert "do not add up" in output.getvalue()
    assert "first fault [1]" in output.getvalue()
    assert "second fault" in output.getvalue()


def test_without_a_terminal_progress_is_a_line_now_and_then_and_the_last_state_is_always_told() -> None:
    shown, output = screen()
    with shown.progress() as progress:
        for count in (1, 2):
            progress.show([replace(GOOD, held=replace(HELD, stored=STORED[:count]))])
        progress.show([GOOD])
    assert output.getvalue().splitlines() == [
        "• rows.fifo: 3 of 5 rows: 1 filtered out, 1 stored, 1 failed",
        "• rows.fifo: 5 of 5 rows: 1 filtered out, 3 stored, 1 failed",
    ]


def test_the_settings_are_shown_as_they_are() -> None:
    shown, output = screen()
    shown.settings(Path("poller.toml"), '[daemon]\nregion = "x"\n')
    assert '[daemon]\nregion = "x"\n' in output.getvalue()
