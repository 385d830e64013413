"""How does it look? Steps, moving bars, a table and a verdict; plain lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.syntax import Syntax
from rich.table import Table

from poller.demo.accounting import Account
from poller.demo.processes import CREDENTIALS
from poller.demo.story import QUEUES, Row

SAMPLE = Row(number=1001, kind="signup", name="Ada King", email="ada.king@acme.example", company="acme")


COLUMNS = (
    TextColumn("  {task.description}"),
    BarColumn(bar_width=14),
    MofNCompleteColumn(),
    TextColumn("{task.fields[news]}"),
)

LINES_EVERY_SECONDS = 1.0


class Screen:
    """Writes to stdout. Lines are not broken, so that what they name can be copied."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def step(self, text: str) -> None:
        """Something was done."""
        self._print(f"• {text}")

    def failed(self, text: str) -> None:
        """Something went wrong."""
        self._print(text, style="bold red")

    def settings(self, file: Path, text: str) -> None:
        """The settings file, in colours."""
        self.step(f"The settings, {file}:")
        self._print("")
        shown = Syntax(text, "toml", background_color="default").highlight(text) if self._console.is_terminal else text
        self._print(shown)

    @contextmanager
    def progress(self) -> Iterator[Bars | Lines]:
        """What moves while the rows are on their way."""
        if not self._console.is_terminal:
            yield Lines(self)
            return
        with Progress(*COLUMNS, console=self._console) as progress:
            yield Bars(progress)

    def table(self, accounts: Sequence[Account]) -> None:
        """What happened, and where: a column for each queue."""
        table = Table(title="What happened, and where", title_justify="left")
        table.add_column("rows")
        for account in accounts:
            table.add_column(account.queue, justify="right")
        table.add_column("seen in")
        for what, where, cells in _lines(accounts):
            table.add_row(what, *cells, where)
        self._print("")
        self._console.print(table)

    def verdict(self, faults: Sequence[str], seconds: float) -> None:
        """Whether it all adds up."""
        if not faults:
            self._print(f"The numbers add up, after {seconds:.0f} seconds.", style="bold green")
            return
        self.failed("The numbers do not add up:")
        for fault in faults:
            self.failed(f"  {fault}")

    def invitation(self, endpoint_url: str, http_listen: str, urls: dict[str, str], folder: Path) -> None:
        """What to try while everything is left running."""
        variables = CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint_url}
        fifo, standard = QUEUES
        send = f"--message-body '{SAMPLE.body()}'"
        self._print("\nEverything runs on until Ctrl-C. Try, in another terminal:\n")
        for line in (
            "export " + " ".join(f"{name}={value}" for name, value in variables.items()),
            f"aws sqs send-message --queue-url {urls[standard.name]} {send}",
            f"aws sqs send-message --queue-url {urls[fifo.name]} --message-group-id {SAMPLE.company} "
            f"--message-deduplication-id {SAMPLE.number} {send}",
            "aws dynamodb scan --table-name users --filter-expression 'csv_row = :row' "
            f'--expression-attribute-values \'{{":row": {{"N": "{SAMPLE.number}"}}}}\'',
            f"aws sqs receive-message --queue-url {urls[standard.dead_letter_queue]} --max-number-of-messages 10",
            f"curl -s http://{http_listen}/metrics | grep ^poller_records",
            f"tail -f {folder / 'daemon.log'}",
        ):
            self._print(f"  {line}")
        self._print(f"\nThe status page: http://{http_listen}/")

    def _print(self, text: object, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)


class Bars:
    """One bar for each queue, in a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars = {queue.name: progress.add_task(queue.name, total=None, news="") for queue in QUEUES}

    def show(self, accounts: Sequence[Account]) -> None:
        for account in accounts:
            total = account.expected.rows
            self._progress.update(self._bars[account.queue], completed=account.done, total=total, news=_fates(account))


class Lines:
    """A line for each queue, not too often and when something has changed, where nothing can move."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shown: dict[str, str] = {}
        self._quiet_until = 0.0

    def show(self, accounts: Sequence[Account]) -> None:
        if time.monotonic() < self._quiet_until and not all(account.is_settled for account in accounts):
            return
        self._quiet_until = time.monotonic() + LINES_EVERY_SECONDS
        for account in accounts:
            line = f"{account.queue}: {account.done} of {account.expected.rows} rows: {_fates(account)}"
            if self._shown.get(account.queue) != line:
                self._shown[account.queue] = line
                self._screen.step(line)


def _fates(account: Account) -> str:
    held = account.held
    return f"{account.counted.filtered_out} filtered out, {len(held.stored)} stored, {held.dead_letter_count} failed"


def _lines(accounts: Sequence[Account]) -> Iterator[tuple[str, str, list[str]]]:
    """What is counted, where it was seen, and the number for each queue."""
    yield "sent", "the CSV", [str(account.sent) for account in accounts]
    yield "filtered out", "/metrics", [str(account.counted.filtered_out) for account in accounts]
    yield "stored", "table users", [str(len(account.held.stored)) for account in accounts]
    yield "failed for good", "dead-letter queue", [str(account.held.dead_letter_count) for account in accounts]
    yield "left over", "queue", [str(account.held.left_over) for account in accounts]
    yield "stored again", "table users", [str(account.held.duplicates) for account in accounts]
    yield "order in each company", "table users", [_order(account) for account in accounts]
    yield "invoked, retries too", "/metrics", [str(account.counted.invoked) for account in accounts]
    yield "  failed or held back", "/metrics", [str(account.counted.failed) for account in accounts]
    yield "invocations", "/metrics", [str(sum(account.counted.invocations.values())) for account in accounts]
    for outcome in ("succeeded", "partly_failed", "failed"):
        cells = [str(account.counted.invocations.get(outcome, 0)) for account in accounts]
        yield f"  {outcome.replace('_', ' ')}", "/metrics", cells


def _order(account: Account) -> str:
    if not account.is_fifo:
        return "not promised"
    return "kept" if account.is_in_order else "broken"
