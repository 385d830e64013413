"""With what does a command end, and what is said of a failure?

    exit code   0   all went well
                1   the daemon, the demo or a change of the state failed, or the output could not be written
                2   the settings have faults, or the command line has

What is said of a failure goes to stderr, so that stdout is the command's answer or nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from poller.errors import PollerError, SettingsError
from poller.settings.loading import Examined, examine

OF_CHANGES = "Exit codes: 0 all went well, 1 nothing was changed, 2 faulty settings or a faulty command line."
EXIT_CODES = "Exit codes: 0 all went well, 1 the daemon or the demo failed, 2 faulty settings or a faulty command line."

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar="POLLER_CONFIG", help="The settings, one TOML file.")
]


def examined(config: Path, *, tells_warnings: bool = True) -> Examined:
    """The settings, after their warnings were told; or the end of the program, after their faults were."""
    with failures_told(config):
        found = examine(config, os.environ)
    if tells_warnings:
        warn(found.settings.warnings)
    return found


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        typer.secho("warning: ", fg="yellow", nl=False, err=True)
        typer.echo(warning, err=True)


@contextmanager
def failures_told(config: Path) -> Iterator[None]:
    """What fails within ends the program."""
    try:
        yield
    except SettingsError as error:
        faults_shown(config, error.faults)
        raise typer.Exit(2) from None
    except PollerError as error:
        raise refused(str(error), code=1) from None


def faults_shown(config: Path, faults: Sequence[str]) -> None:
    typer.secho(f"{config} has {counted(len(faults), 'fault')}:", fg="red", bold=True, err=True)
    for fault in faults:
        typer.echo(fault, err=True)


def refused(why: str, *, code: int) -> typer.Exit:
    """To be raised."""
    typer.secho(f"poller: {why}", fg="red", err=True)
    return typer.Exit(code)


@contextmanager
def crash_told() -> Iterator[None]:
    """An error in our code ends the program with a traceback that shows no secret."""
    try:
        yield
    except Exception as error:
        from poller.disclosure import safe_traceback

        typer.echo(safe_traceback(error), err=True)
        raise SystemExit(1) from None


@contextmanager
def exit_on_broken_stdout() -> Iterator[None]:
    """Ends the program where stdout takes nothing more, as on a full disk.

    A reader that has gone does not come here: typer ends the program for that, without a word.
    """
    try:
        yield
    except OSError as error:
        if _can_be_written():
            raise
        typer.secho(f"poller: the output cannot be written: {error.strerror}", fg="red", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter's last flush goes
        raise SystemExit(1) from None


def _can_be_written() -> bool:
    """By that a failure of the output is known from any other."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
