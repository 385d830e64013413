"""How is a table printed?"""

from __future__ import annotations

import pytest
from rich.console import Console

from poller.cli.printing import print_table, table_of


def test_each_row_is_one_line_and_no_cell_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "why"], [["a", "first\nsecond\r\x07\x1b[2J\ttext \u202e [bold]"], ["b", "é 漢"]])
    assert capsys.readouterr().out.splitlines() == [
        "name  why",
        r"a     first\nsecond\r\x07\x1b[2J\ttext \u202e [bold]",
        "b     é 漢",
    ]


def test_a_narrow_terminal_cuts_the_longest_cells_and_keeps_the_names() -> None:
    console = Console(width=30, height=9)
    with console.capture() as lines:
        console.print(
            table_of(["mapping", "state", "why"], [["clicks", "ready", "the queue is not there"], ["b", "", ""]])
        )
    assert [line.rstrip() for line in lines.get().splitlines()] == [
        "mapping  state  why",
        "clicks   ready  the queue i…",
        "b",
    ]


def test_rows_are_whole_on_a_terminal_without_a_known_size(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    print_table(["why"], [["x" * 200]])
    assert "x" * 200 in capsys.readouterr().out
