"""What does a person see of the tour? Steps, progress bars, tables and a verdict.

If the output is not a terminal, there are lines in place of the bars.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.syntax import Syntax
from rich.table import Table as Drawn

from poller.demo.books import Book, Table
from poller.demo.processes import DemoError

COLUMNS = (
    TextColumn("  {task.description}"),
    BarColumn(bar_width=14),
    MofNCompleteColumn(),
    TextColumn("{task.fields[news]}"),
)

LINES_EVERY_SECONDS = 1.0
FAULTS_SHOWN = 20


class OutputLost(DemoError):
    """The output cannot be written. `error` is what rich has raised: an OSError, or SystemExit for a closed pipe."""

    def __init__(self, error: OSError | SystemExit) -> None:
        super().__init__("the output cannot be written")
        self.error = error


class Screen:
    """Writes to stdout, or raises OutputLost. Lines are not broken, so that paths and commands can be copied."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def step(self, text: str) -> None:
        """Show that something was done."""
        self._print(f"• {text}")

    def failed(self, text: str) -> None:
        """Show that something went wrong."""
        self._print(text, style="bold red")

    def settings(self, file: Path, text: str) -> None:
        """Show the settings file, in colour on a terminal."""
        self.step(f"The settings, {file}:")
        self._print("")
        shown = Syntax(text, "toml", background_color="default").highlight(text) if self._console.is_terminal else text
        self._print(shown)

    @contextmanager
    def progress(self) -> Iterator[Bars | Lines]:
        """Yield the bars or lines that show how many records are done."""
        if not self._console.is_terminal:
            yield Lines(self)
            return
        with Progress(*COLUMNS, console=self._console) as progress:
            yield Bars(progress)

    def table(self, table: Table) -> None:
        """Show what happened to the records, and where each number was seen."""
        what, *columns = table.columns
        drawn = Drawn(title=table.title, title_justify="left")
        drawn.add_column(what)
        for column in columns:
            drawn.add_column(column, justify="right")
        drawn.add_column("seen in")
        for line in table.lines:
            drawn.add_row(line.what, *map(str, line.numbers), line.where)
        self._print("")
        self._print(drawn, soft_wrap=False)

    def verdict(self, faults: Sequence[str], seconds: float) -> None:
        """Show that the numbers add up, or the faults."""
        if not faults:
            self._print(f"The numbers add up, after {seconds:.0f} seconds.", style="bold green")
            return
        self.failed("The numbers do not add up:")
        for fault in faults[:FAULTS_SHOWN]:
            self.failed(f"  {fault}")
        if len(faults) > FAULTS_SHOWN:
            self.failed(f"  … and {len(faults) - FAULTS_SHOWN} more")

    def invitation(self, lines: Sequence[str], http_listen: str) -> None:
        """Show command lines that the user can try while everything runs on."""
        self._print("\nEverything runs on until Ctrl-C. Try, in another terminal:\n")
        for line in lines:
            self._print(f"  {line}")
        self._print(f"\nThe status page: http://{http_listen}/")

    def _print(self, text: object, style: str | None = None, *, soft_wrap: bool = True) -> None:
        try:
            self._console.print(text, style=style, markup=False, soft_wrap=soft_wrap)
        except (OSError, SystemExit) as error:
            raise OutputLost(error) from None


class Bars:
    """One progress bar for each book, on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def show(self, books: Sequence[Book]) -> None:
        for book in books:
            if book.name not in self._bars:
                self._bars[book.name] = self._progress.add_task(book.name, total=None, news="")
            self._progress.update(self._bars[book.name], completed=book.done, total=book.total, news=book.news)


class Lines:
    """Prints a line for each book that has changed, at most once a second. It serves an output that is not a terminal.

    As soon as all books are settled, it prints their last lines.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown: dict[str, str] = {}
        self._quiet_until = 0.0

    def show(self, books: Sequence[Book]) -> None:
        if time.monotonic() < self._quiet_until and not all(book.is_settled for book in books):
            return
        self._quiet_until = time.monotonic() + LINES_EVERY_SECONDS
        for book in books:
            line = f"{book.name}: {book.done} of {book.total}: {book.news}"
            if self._shown.get(book.name) != line:
                self._shown[book.name] = line
                self._screen.step(line)
