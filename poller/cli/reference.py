"""What does `poller reference` print? Every metric, every log event, and how poller compares to AWS Lambda."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from poller.cli.as_json import AsJson, print_json
from poller.cli.ending import OF_READERS

if TYPE_CHECKING:
    from poller.telemetry.reference import EventEntry, MetricEntry

reference_commands = typer.Typer(
    help="List every metric, log event or parameter of AWS Lambda, with its meaning.", no_args_is_help=True
)

AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a table in Markdown, for documentation.")]

WIDTH = 100
"""The width of the list for people, in columns."""

METRICS = """\
# Metrics

The metrics that `/metrics` shows, as `poller reference metrics --markdown` prints them.
Those of the Python process (`process_…`, `python_…`) come in addition.
A mapping or a function has its counters at zero from the moment when it is added.

AWS has some of them too, under "Types of metrics for Lambda functions":

| AWS | here |
| --- | --- |
| PolledEventCount | `poller_records_polled_total` |
| FilteredOutEventCount | `poller_records_filtered_out_total` |
| InvokedEventCount | `poller_records_invoked_total` |
| FailedInvokeEventCount | `poller_records_failed_total` |
| DroppedEventCount | `poller_records_dropped_total` |
| DeletedEventCount | `poller_messages_deleted_total` |
| OnFailureDestinationDeliveredEventCount | `poller_records_reported_total` |
| DestinationDeliveryFailures | `poller_destination_errors_total` |
| IteratorAge | `poller_iterator_age_seconds`, of records that are not done, also while no batch succeeds |
"""
LOG = """\
# Log events

The events of the log, as `poller reference log --markdown` prints them.
Every line has `timestamp`, `level` and `event`, and those of the listed fields that have a value.
The last column says which lines are suppressed because they repeat; the next line has their number in `suppressed`.
"""


@reference_commands.command(epilog=OF_READERS)
def metrics(as_json: AsJson = False, as_markdown: AsMarkdown = False) -> None:
    """List every metric of /metrics.

    Example: `poller reference metrics | grep -A2 iterator_age`
    """
    from poller.telemetry.reference import metric_entries

    entries = metric_entries()
    if as_json:
        _print_json("metrics", entries)
    elif as_markdown:
        rows = [(f"`{one.name}`", one.type, _labels(one), one.meaning) for one in entries]
        _print_markdown(METRICS, ("metric", "type", "labels", "meaning"), rows)
    else:
        for one in entries:
            _print_item(one.name, one.type, one.meaning, f"labels: {_labels(one)}")


@reference_commands.command(epilog=OF_READERS)
def log(as_json: AsJson = False, as_markdown: AsMarkdown = False) -> None:
    """List every event of the log.

    Example: `poller reference log | grep -A3 ^shard_blocked`
    """
    from poller.telemetry.reference import event_entries

    entries = event_entries()
    if as_json:
        _print_json("events", entries)
    elif as_markdown:
        rows = [(f"`{one.event}`", _levels(one), one.meaning, ", ".join(one.fields), _written(one)) for one in entries]
        _print_markdown(LOG, ("event", "level", "meaning", "fields", "written"), rows)
    else:
        for one in entries:
            _print_item(
                one.event, _levels(one), one.meaning, f"fields: {', '.join(one.fields)}", f"written: {_written(one)}"
            )


@reference_commands.command(epilog=OF_READERS)
def parity(as_json: AsJson = False, as_markdown: AsMarkdown = False) -> None:
    """List what poller does with each parameter of AWS Lambda's API, and where it differs from AWS on purpose.

    Example: `poller reference parity | grep -A3 BatchSize`
    """
    from poller.cli.parity import DIFFERENCES, parameters, tests
    from poller.cli.parity import as_markdown as markdown

    shown_by = tests()
    if as_json:
        found = {
            "parameters": [one._asdict() | {"tests": shown_by[one.marker]} for one in parameters()],
            "differences": [one._asdict() | {"tests": shown_by[one.key]} for one in DIFFERENCES],
        }
        print_json(found)
    elif as_markdown:
        typer.echo(markdown())
    else:
        for one in parameters():
            _print_item(one.key, one.option or "no option", one.here, f"tests: {', '.join(shown_by[one.marker])}")
        for each in DIFFERENCES:
            _print_item(
                each.key,
                "differs",
                f"on AWS: {each.aws}",
                f"here: {each.here}",
                f"tests: {', '.join(shown_by[each.key])}",
            )


def _labels(entry: MetricEntry) -> str:
    """Return the labels of a metric. A label whose values are known in advance has them in parentheses."""
    return ", ".join(f"{name} ({' or '.join(known)})" if known else name for name, known in entry.labels.items())


def _levels(entry: EventEntry) -> str:
    return " or ".join(entry.levels)


def _written(entry: EventEntry) -> str:
    if not entry.once_per:
        return "every time"
    pause = "" if entry.pause_in_seconds is None else f" in {entry.pause_in_seconds:g} seconds"
    return f"once{pause} for each {' and '.join(entry.once_per)}"


def _print_json(name: str, entries: Sequence[MetricEntry | EventEntry]) -> None:
    print_json({name: [entry._asdict() for entry in entries]})


def _print_markdown(introduction: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    typer.echo(introduction)
    for row in (headings, ["---"] * len(headings), *rows):
        typer.echo(f"| {' | '.join(row)} |")


def _print_item(name: str, kind: str, *paragraphs: str) -> None:
    typer.echo(f"{name}  {kind}")
    for paragraph in paragraphs:
        typer.echo(textwrap.fill(paragraph, WIDTH, initial_indent="    ", subsequent_indent="    "))
