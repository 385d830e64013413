"""How does a settings file become `Settings`, and how does a person see all its faults at once?

text      is parsed as TOML                       if this fails, the one syntax fault is reported alone
table     ${NAME} is replaced                     a fault for each text with a reference that cannot be replaced
entries   pydantic reads each option              a fault for each value that pydantic cannot read
rules     look at the entries                     a fault for each broken rule between readable values
Settings  are made only if there is no fault
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from poller.errors import SettingsError
from poller.model.mapping import QueueMapping, StreamMapping
from poller.settings.advice import advice
from poller.settings.daemon import daemon_rules
from poller.settings.environment import substitute, withheld_variables
from poller.settings.event_rules import event_rules
from poller.settings.faults import Fault, all_faults, in_lines
from poller.settings.file import File, FileOptions, read_file
from poller.settings.functions import function_rules
from poller.settings.mapping_rules import Taken, mapping_rules
from poller.settings.mappings import mapping_value
from poller.settings.references import Functions, resolve
from poller.settings.regions import region_rules
from poller.settings.state import table_address
from poller.settings.syntax import explained
from poller.settings.values import Settings


@dataclass(frozen=True, slots=True)
class Examined:
    """The settings, the table from which they were made, and the text of the file.

    The table knows how each value was written.
    """

    settings: Settings
    table: dict[str, Any]
    text: str


def load(path: FilePath, environ: Mapping[str, str], *, copy: FilePath | None = None) -> Settings:
    """Return the settings in the file. Raise SettingsError with all faults of the file.

    If there is a `copy` of the file, its text is read instead. Names of files in it are still relative to `path`.
    """
    return examine(path, environ, copy=copy).settings


def examine(path: FilePath, environ: Mapping[str, str], *, copy: FilePath | None = None) -> Examined:
    return examine_text(text_of(path if copy is None else copy), path, environ)


def examine_again(path: FilePath, environ: Mapping[str, str], *, copy: FilePath | None = None) -> Examined:
    """Examine the file for a reload. A file without a table is a fault, because it would remove all mappings.

    Many programs empty a file before they write it, so a reload at this moment sees an empty file.
    """
    found = examine(path, environ, copy=copy)
    if not found.table:
        why = "has no table; a program may be writing it now, so the daemon keeps its settings"
        raise SettingsError([f"{path}: {why}; to remove all mappings, keep the line [daemon]"])
    return found


def examine_text(text: str, path: FilePath, environ: Mapping[str, str]) -> Examined:
    """Examine a text as if it stood in the file at `path`."""
    with _too_deep_is_a_fault(path):
        return _examined(text, path, environ)


def state_of(path: FilePath, environ: Mapping[str, str]) -> str:
    """Return the address of the state (`memory:`, `sqlite://…` or `dynamodb://…`), even if other options have faults.

    Raise SettingsError if this option, or the file as a whole, cannot be read.
    """
    with _too_deep_is_a_fault(path):
        table, not_replaced = substitute(_parsed(path, text_of(path)), environ)
        file, unreadable = read_file(table, not_replaced)
    if faults := [fault for fault in unreadable if fault.path in (("daemon",), ("daemon", "state"))]:
        raise SettingsError(in_lines(faults, table, FileOptions))
    return file.daemon.options.value(path, environ).state


@contextmanager
def _too_deep_is_a_fault(path: FilePath) -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise SettingsError([f"{path}: is nested too deeply"]) from None


def _examined(text: str, path: FilePath, environ: Mapping[str, str]) -> Examined:
    table, not_replaced = substitute(_parsed(path, text), environ)
    file, unreadable = read_file(table, not_replaced)
    functions = resolve(file, path.resolve().parent)
    if faults := all_faults(unreadable, _rules(file, functions, path, environ)):
        raise SettingsError(in_lines(faults, table, FileOptions))
    return Examined(_settings(file, functions, withheld_variables(table), path, environ), table, text)


def text_of(path: FilePath) -> str:
    """Return the text of the file. Raise SettingsError if it cannot be read."""
    try:
        if path.is_fifo() and path.resolve().parts[1] not in ("dev", "proc"):  # the shell's <(…) is allowed
            raise SettingsError([f"{path}: is a named pipe, not a file"])
        return path.read_bytes().decode().removeprefix("\ufeff")
    except FileNotFoundError:
        raise SettingsError([f"{path}: there is no such file"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: byte {error.start + 1} is not UTF-8, and a TOML file must be UTF-8"]) from None


def _parsed(path: FilePath, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: {explained(str(error), text)}"]) from None
    except ValueError as error:  # a number of thousands of digits
        raise SettingsError([f"{path}: not TOML that can be read: {str(error).partition(';')[0]}"]) from None


def _rules(file: File, functions: Functions, path: FilePath, environ: Mapping[str, str]) -> Iterator[Fault]:
    yield from daemon_rules(file.daemon, path, environ)
    for function in file.functions.values():
        yield from function_rules(function)
    for mapping in file.mappings.values():
        yield from mapping_rules(mapping)
    yield from event_rules(file, functions)
    yield from region_rules(file, environ)
    yield from functions.faults
    state = file.daemon.options.state
    taken = Taken(state=table_address(state) if state is not None and state.startswith("dynamodb://") else None)
    for mapping in file.mappings.values():
        yield from taken.take(mapping, functions.identity(mapping.name))


def _settings(
    file: File, functions: Functions, withheld: frozenset[str], path: FilePath, environ: Mapping[str, str]
) -> Settings:
    mappings = [mapping_value(mapping, functions.of_mapping[name]) for name, mapping in file.mappings.items()]
    return Settings(
        daemon=file.daemon.options.value(path, environ),
        functions=functions.by_name,
        queue_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, QueueMapping)),
        stream_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, StreamMapping)),
        withheld_variables=withheld,
        warnings=tuple(advice(file, functions)),
    )
