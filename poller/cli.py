"""The command line: `poller run | check | demo`.

It reads the file, tells what is wrong with it, and hands what is right to the program; it decides nothing else.
What a command needs is imported when it runs, so that `poller check` works where the rest does not.

    exit code   0   all went well
                1   the daemon or the demo failed
                2   the settings have faults, or the command line has
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax

from poller import __version__
from poller.errors import PollerError, SettingsError
from poller.settings.loading import Examined, examine
from poller.settings.schema import json_schema
from poller.settings.showing import effective_toml
from poller.settings.values import Settings

EXIT_CODES = "Exit codes: 0 all went well, 1 the daemon or the demo failed, 2 faulty settings or a faulty command line."

app = typer.Typer(
    name="poller",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar="POLLER_CONFIG", help="The settings, one TOML file.")
]


def main() -> None:
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

    It reads queues, forms batches, invokes functions wherever they run, and deals with failure as Lambda does.

    See it with `poller demo`, write a poller.toml, look at it with `poller check`, and start it with `poller run`.
    """


@app.command(epilog=EXIT_CODES)
def run(
    config: Config = Path("poller.toml"),
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every batch, not only what needs a look.")
    ] = False,
) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Example: `poller run -c /etc/poller/poller.toml`

    The first signal stops polling, lets what runs end within the grace, and makes the rest visible again.
    A second signal hurries.
    """
    examined = _examined(config)
    from poller.app import run as run_daemon

    try:
        status = run_daemon(examined.settings, settings_path=config, verbose=verbose)
    except SettingsError as error:
        _tell_faults(error, config)
        raise typer.Exit(2) from None
    except PollerError as error:
        typer.secho(f"poller: {error}", fg="red", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(status)


@app.command(epilog=EXIT_CODES)
def check(
    config: Config = Path("poller.toml"),
    schema: Annotated[bool, typer.Option("--schema", help="Print a JSON Schema of the file, for editors.")] = False,
) -> None:
    """Say what is wrong with the settings, or what they come to with every default filled in.

    Example: `poller check -c poller.toml`

    Example: `poller check --schema > poller.schema.json`, then `#:schema ./poller.schema.json` in the TOML file.

    It asks nothing of the network, and shows `${NAME}` where a value comes from the environment.
    """
    if schema:
        typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    examined = _examined(config)
    _tell_counts(examined.settings, config)
    _print_toml(effective_toml(examined.settings, examined.tree))


@app.command(epilog=EXIT_CODES)
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running, to play with, until Ctrl-C.")] = False,
) -> None:
    """See it at work: an emulator, two queues, a CSV of users, and what becomes of each row.

    Example: `poller demo --keep`

    It needs no AWS account, and the extra `demo`: `pip install '.[demo]'` beside the sources.
    """
    from poller.demo import run as run_demo

    raise typer.Exit(run_demo(keep=keep))


def _examined(config: Path) -> Examined:
    """The settings, after their warnings were told; or the end of the program, after their faults were."""
    try:
        examined = examine(config, os.environ)
    except SettingsError as error:
        _tell_faults(error, config)
        raise typer.Exit(2) from None
    for warning in examined.settings.warnings:
        typer.secho("warning: ", fg="yellow", nl=False, err=True)
        typer.echo(warning, err=True)
    return examined


def _tell_faults(error: SettingsError, config: Path) -> None:
    typer.secho(f"{config} has {_counted(len(error.faults), 'fault')}:", fg="red", bold=True, err=True)
    for fault in error.faults:
        typer.echo(fault, err=True)


def _tell_counts(settings: Settings, config: Path) -> None:
    mappings = _counted(len(settings.queue_mappings) + len(settings.stream_mappings), "mapping")
    typer.secho(f"# {config} is sound: {mappings}, {_counted(len(settings.functions), 'function')}", fg="green")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _print_toml(text: str) -> None:
    """In colour for a person, as it is for a program; lines are never cut or broken, so that they can be copied."""
    if sys.stdout.isatty():
        Console(soft_wrap=True).print(Syntax(text, "toml", background_color="default").highlight(text), end="")
    else:
        typer.echo(text, nl=False)
