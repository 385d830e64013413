"""How is a table printed? Each row is one line, so that a person can copy names, and grep finds whole rows.

A control character of a cell is escaped: the text of a function's failure must not break a row or control the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDEST_LINE = 100_000
"""A number of columns. Every row is narrower, so rich never breaks a row."""


def table_of(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table that cuts its widest columns first where it is wider than the terminal."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:  # with no_wrap, rich would cut all columns by the same number of characters
        table.add_column(_line(column))
    for row in rows:
        table.add_row(*(_line(printable(cell)) for cell in row))
    return table


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = table_of(columns, rows)
    console = wide_console()
    with console.capture() as lines:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in lines.get().splitlines()))


def wide_console() -> Console:
    """Return a console that breaks and cuts no line."""
    return Console(width=WIDEST_LINE, height=1, highlight=False)  # without a height, a dumb terminal has 80 columns


def printable(cell: str) -> str:
    """Return the text with each control character, also a line break, in its escaped form."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cell)
