"""How is a table printed?"""

from __future__ import annotations

import pytest

from poller.cli.printing import print_table


def test_each_row_is_one_line_and_no_cell_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "why"], [["a", "first\nsecond\r\x07\x1b[2J\ttext \u202e [bold]"], ["b", "é 漢"]])
    assert capsys.readouterr().out.splitlines() == [
        "name  why",
        r"a     first\nsecond\r\x07\x1b[2J\ttext \u202e [bold]",
        "b     é 漢",
    ]
