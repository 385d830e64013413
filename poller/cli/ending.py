"""Which exit code does a command have, and where does a person read why it failed?

    exit code   0   success
                1   the daemon, the demo, a reload or a change of the state failed, or the output could not be written
                2   the settings or the command line have faults
              130   a person ended the command by Ctrl-C

`reload` has exit code 1 also for faulty settings, because the daemon then keeps the settings that it has.
Messages about failures and warnings go to stderr, and the answer of a command to stdout.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from typing import Annotated, NoReturn

import typer

from poller.errors import PollerError, SettingsError
from poller.settings.loading import Examined, examine

OF_CHANGES = "Exit codes: 0 success, 1 nothing was changed, 2 faulty settings or a faulty command line."
OF_DAEMON = "Exit codes: 0 success, 1 no daemon runs or it refuses, 2 faulty settings or a faulty command line."
OF_CHECKS = "Exit codes: 0 no fault, 1 `--live` found a fault, 2 faulty settings or a faulty command line."
OF_STATE = "Exit codes: 0 success, 1 the state cannot be read, 2 faulty settings or a faulty command line."
OF_EVENTS = (
    "Exit codes: 0 success, 1 the events cannot be read, or there is no such event, 2 faulty settings or a faulty "
    "command line."
)
OF_READERS = "Exit codes: 0 success, 2 faulty settings or a faulty command line."
EXIT_CODES = "Exit codes: 0 success, 1 the daemon or the demo failed, 2 faulty settings or a faulty command line."

Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar="POLLER_CONFIG", help="The settings file, in TOML.")
]


def examined(config: Path, *, prints_warnings: bool = True) -> Examined:
    """Return the settings, and print their warnings.

    If the settings have faults, print all of them and end the program with exit code 2.
    """
    with exit_on_failure(config):
        found = examine(config, os.environ)
    if prints_warnings:
        warn(found.settings.warnings)
    return found


def warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        typer.secho("warning: ", fg="yellow", nl=False, err=True)
        typer.echo(warning, err=True)


@contextmanager
def exit_on_failure(config: Path) -> Iterator[None]:
    """If the block raises a PollerError, print a message and end the program.

    For a SettingsError, every fault is printed, and the exit code is 2. For any other error, its text is printed, and
    the exit code is 1.
    """
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
    """Print why the command refuses, and return the exception that ends the program: `raise refused(…)`."""
    typer.secho(f"poller: {why}", fg="red", err=True)
    return typer.Exit(code)


@contextmanager
def exit_at_once_on_ctrl_c(restore: Callable[[], object] | None = None) -> Iterator[None]:
    """Let Ctrl-C end the program inside the block, at once and with 130. `restore` restores the terminal.

    Without this, Python waits until the threads of the event loop have ended. A thread that resolves the name of a host
    may need half a minute. Use it only where nothing has to be closed.
    """

    def end(*_: object) -> NoReturn:
        if restore is not None:
            restore()
        os._exit(130)

    if current_thread() is not main_thread():  # only the main thread gets signals, and tests call commands elsewhere
        yield
        return
    former = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def exit_on_crash() -> Iterator[None]:
    """If the block raises an error that no other code handles, print a traceback without secrets and exit with 1."""
    try:
        yield
    except Exception as error:
        from poller.disclosure import safe_traceback

        typer.echo(safe_traceback(error), err=True)
        raise SystemExit(1) from None


@contextmanager
def exit_on_broken_stdout() -> Iterator[None]:
    """If the block cannot write to stdout, for example because the disk is full, print the reason and exit with 1.

    A closed pipe is no such error: typer handles it, and ends the program without a message.
    """
    try:
        yield
    except OSError as error:
        if _can_be_written():
            raise
        typer.secho(f"poller: the output cannot be written: {error.strerror}", fg="red", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush fails too
        raise SystemExit(1) from None


def _can_be_written() -> bool:
    """Return whether stdout can be written. If so, the OSError has another cause."""
    try:
        print(flush=True)
    except OSError:
        return False
    return True


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
