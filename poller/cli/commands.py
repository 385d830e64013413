"""What do `poller run`, `check` and `demo` do?

    run      reads the settings, and runs the daemon until its end
    check    reads the settings, and prints them with every default; with --schema it prints the JSON Schema instead,
             and with --live what AWS says about them
    demo     gives the tour, with settings of its own

`run` and `check` show the faults of the settings and exit with 2, if there are any.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from poller import __version__
from poller.cli.as_json import AsJson, print_json
from poller.cli.copying import copy_state
from poller.cli.ending import (
    EXIT_CODES,
    OF_CHANGES,
    OF_CHECKS,
    OF_DAEMON,
    OF_READERS,
    Config,
    counted,
    examined,
    exit_at_once_on_ctrl_c,
    exit_on_broken_stdout,
    exit_on_crash,
    exit_on_failure,
    refused,
    warn,
)
from poller.cli.events import events_commands
from poller.cli.explaining import explain
from poller.cli.iam import iam
from poller.cli.importing import OF_IMPORTS, import_mappings
from poller.cli.invoking import OF_INVOCATIONS, invoke
from poller.cli.ordering import shard
from poller.cli.pausing import pause, resume
from poller.cli.printing import print_table
from poller.cli.reference import reference_commands
from poller.cli.reloading import OF_RELOADS, reload
from poller.cli.state import state_commands
from poller.cli.status import status
from poller.cli.tailing import OF_TAILS, tail
from poller.cli.trying import try_record
from poller.errors import SettingsError
from poller.settings.loading import examine
from poller.settings.presence import missing
from poller.settings.schema import json_schema
from poller.settings.showing import effective_toml
from poller.settings.values import Settings

MAXIMUM_WORKERS = 64
"""More processes than most hosts have cores."""

app = typer.Typer(
    name="poller",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def main() -> None:
    with exit_on_crash(), exit_on_broken_stdout():
        app()


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"poller {__version__}")
        raise typer.Exit


@app.callback()
def poller(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """AWS Lambda's event source mapping as a daemon of your own.

    It reads queues and streams, forms batches, invokes functions wherever they run, and handles failures as Lambda
    does.

    Try it with `poller demo`, write a poller.toml, check it with `poller check`, and start it with `poller run`.
    """


def run(
    config: Config = Path("poller.toml"),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every batch, not only failures.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Log only warnings and errors, and no output of functions.")
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=MAXIMUM_WORKERS, help="How many worker processes to run. To use all cores, give their number."
        ),
    ] = 1,
    as_worker: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Example: `poller run -c /etc/poller/poller.toml`

    Example: `poller run --workers 4` uses four cores; commands, pages and metrics see one daemon

    The first signal stops polling, lets running invocations end within the grace, makes the other messages visible
    again, and stores the last positions. A second signal ends the grace.
    """
    if verbose and quiet:
        raise refused("--verbose and --quiet exclude each other", code=2)
    if as_worker is None and workers > 1:
        from poller.workers.parent import run as run_workers

        found = examined(config, prints_warnings=False)  # the daemon's log has the warnings
        with exit_on_failure(config):
            status = run_workers(found, settings_path=config, workers=workers, verbose=verbose, quiet=quiet)
        raise typer.Exit(status)
    from poller.app import run as run_daemon
    from poller.settings.in_use import InUse
    from poller.workers.membership import Membership
    from poller.workers.starting import received

    membership = None if as_worker is None else Membership.parsed(as_worker)
    with exit_on_failure(config):
        is_alone = membership is None
        in_use = InUse.of(examined(config, prints_warnings=False)) if is_alone else received(sys.stdin.buffer)
        status = run_daemon(in_use, settings_path=config, verbose=verbose, quiet=quiet, membership=membership)
    raise typer.Exit(status)


def check(
    config: Config = Path("poller.toml"),
    schema: Annotated[bool, typer.Option("--schema", help="Print a JSON Schema of the file, for editors.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask AWS whether the resources are as the settings need them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the settings: show their faults or, if there are none, the settings with every default.

    Example: `poller check -c poller.toml`

    Example: `poller check --schema > poller.schema.json`, then `#:schema ./poller.schema.json` in the TOML file.

    Example: `poller check --live`, before the first start

    It warns of missing modules, programs and folders, and shows `${NAME}` in place of a value from the environment and
    `***` in place of a secret.
    Without `--live` it sends no request over the network. With `--live` it prints a table of what AWS says: whether
    sources, functions and destinations are there and suit each other, and whether they may be used, if AWS has a call
    for this that changes nothing. It connects to the urls of HTTP functions. The exit code is 1 if there is a fault;
    advice does not change the exit code.
    """
    if schema:
        print_json(json_schema())
        return
    if as_json and not live:
        _check_for_programs(config)
        return
    found = examined(config)
    if live:
        _check_live(found.settings, config, as_json=as_json)
        return
    warn(missing(found, os.environ))
    _print_counts(found.settings, config)
    _print_toml(effective_toml(found.settings, found.table))


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep everything running until Ctrl-C, so that you can try it.")
    ] = False,
    reshard: Annotated[
        bool,
        typer.Option(
            "--reshard",
            help="Show only a stream whose shards are split and merged. Needs Node.js.",
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAXIMUM_WORKERS,
            help="Show only one stream, which this number of workers share; one of them is killed in the middle.",
        ),
    ] = 1,
) -> None:
    """Run a guided tour on an emulator, with a bucket, two queues and two streams.

    Example: `poller demo --keep`

    It needs no AWS account. It needs the extra `demo`: run `pip install '.[demo]'` in the folder of the sources.
    """
    if reshard and workers > 1:
        raise refused("--reshard and --workers exclude each other", code=2)
    from poller.demo import run as run_demo

    raise typer.Exit(run_demo(keep=keep, reshard=reshard, workers=workers))


def _check_for_programs(config: Path) -> None:
    """Print the faults, the warnings and the settings. If there is a fault, end the program with exit code 2."""
    try:
        found = examine(config, os.environ)
    except SettingsError as error:
        print_json({"faults": error.faults, "warnings": [], "settings": None})
        raise typer.Exit(2) from None
    warnings = [*found.settings.warnings, *missing(found, os.environ)]
    settings = tomllib.loads(effective_toml(found.settings, found.table))
    print_json({"faults": [], "warnings": warnings, "settings": settings})


def _check_live(settings: Settings, config: Path, *, as_json: bool) -> None:
    """Print what AWS says about the settings. If there is a fault, end the program with exit code 1."""
    from poller.live_checks.making import rows_of

    with exit_on_failure(config), exit_at_once_on_ctrl_c():
        rows = rows_of(settings)
    texts = [[row.finding.result, row.option, row.resource, row.check, row.finding.text] for row in rows]
    columns = ["result", "option", "resource", "check", "finding"]
    if as_json:
        print_json({"rows": [dict(zip(columns, text, strict=True)) for text in texts]})
    elif rows:
        print_table([column.upper() for column in columns], texts)
    else:
        typer.echo("There is nothing to ask AWS: the settings name no resource of AWS.")
    if any(row.finding.is_fault for row in rows):
        raise typer.Exit(1)


def _print_counts(settings: Settings, config: Path) -> None:
    mappings = counted(len(settings.queue_mappings) + len(settings.stream_mappings), "mapping")
    typer.secho(f"# {config} is valid: {mappings}, {counted(len(settings.functions), 'function')}", fg="green")


def _print_toml(text: str) -> None:
    """Print in colour on a terminal, else as plain text. Lines are never cut or broken, so that they can be copied."""
    if sys.stdout.isatty():
        Console(soft_wrap=True).print(Syntax(text, "toml", background_color="default").highlight(text), end="")
    else:
        typer.echo(text, nl=False)


BEGIN, RUNNING, RECORDS, DEPLOYMENT, REFERENCE = (
    "Begin",
    "The running daemon",
    "Records, positions and events",
    "Deployment",
    "Reference",
)
"""The groups of commands in `poller --help`."""

app.command(epilog=EXIT_CODES, rich_help_panel=BEGIN)(demo)
app.command(epilog=OF_CHECKS, rich_help_panel=BEGIN)(check)
app.command(epilog=EXIT_CODES, rich_help_panel=BEGIN)(run)
app.command(epilog=OF_DAEMON, rich_help_panel=RUNNING)(status)
app.command(epilog=OF_RELOADS, rich_help_panel=RUNNING)(reload)
app.command(epilog=OF_DAEMON, rich_help_panel=RUNNING)(pause)
app.command(epilog=OF_DAEMON, rich_help_panel=RUNNING)(resume)
app.command(epilog=OF_DAEMON, rich_help_panel=RUNNING)(shard)
app.command(epilog=OF_INVOCATIONS, rich_help_panel=RUNNING)(invoke)
app.command(epilog=OF_TAILS, rich_help_panel=RECORDS)(tail)
app.command(epilog=OF_READERS, rich_help_panel=RECORDS)(explain)
app.command("try", epilog=OF_INVOCATIONS, rich_help_panel=RECORDS)(try_record)
state_commands.command("copy", epilog=OF_CHANGES)(copy_state)
app.add_typer(state_commands, name="state", rich_help_panel=RECORDS)
app.add_typer(events_commands, name="events", rich_help_panel=RECORDS)
app.command("import", epilog=OF_IMPORTS, rich_help_panel=DEPLOYMENT)(import_mappings)
app.command(epilog=OF_READERS, rich_help_panel=DEPLOYMENT)(iam)
app.add_typer(reference_commands, name="reference", rich_help_panel=REFERENCE)
