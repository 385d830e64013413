"""The way through: file -> tree -> tables -> rules -> Settings, and every fault on the way, all told at once.

file      TOML; a broken syntax is the only fault that hides others
tree      ${NAME} replaced; a text that could not be is unreadable, and left out from here on
tables    pydantic reads each value; those that it refuses are unreadable, and left out, so that tables always come
rules     between values, over what could be read
Settings  only when nothing was wrong
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from poller.errors import SettingsError
from poller.model.mapping import QueueMapping, StreamMapping
from poller.settings.advice import advice
from poller.settings.daemon import daemon_rules
from poller.settings.environment import substitute, withheld_variables
from poller.settings.faults import Fault, of_rules, of_values, told, worth_telling
from poller.settings.file import File
from poller.settings.functions import function_rules
from poller.settings.mapping_rules import duplicate_rules, mapping_rules
from poller.settings.mappings import mapping_value
from poller.settings.references import References, resolve
from poller.settings.regions import region_rules
from poller.settings.syntax import explained
from poller.settings.tree import find, place, without
from poller.settings.values import Settings


@dataclass(frozen=True, slots=True)
class Examined:
    """The settings, and the tree that they came from, which remembers how everything was written."""

    settings: Settings
    tree: dict[str, Any]


def load(path: FilePath, environ: Mapping[str, str]) -> Settings:
    """The settings in the file, or a SettingsError with every fault."""
    return examine(path, environ).settings


def examine(path: FilePath, environ: Mapping[str, str]) -> Examined:
    try:
        return _examined(path, environ)
    except RecursionError:
        raise SettingsError([f"{path}: is nested too deeply"]) from None


def _examined(path: FilePath, environ: Mapping[str, str]) -> Examined:
    tree, unreadable = substitute(_parsed(path), environ)
    file, refused = _tables(tree, unreadable)
    unreadable = [*unreadable, *refused]
    references = resolve(file, tree, path.resolve().parent)
    rules = of_rules(_rules(file, references, tree, environ), (fault.path for fault in unreadable))
    faults = worth_telling([*unreadable, *rules])
    if faults:
        raise SettingsError([told(fault, tree) for fault in sorted(faults, key=lambda fault: place(tree, fault.path))])
    return Examined(_settings(file, references, tree, path, environ), tree)


def _parsed(path: FilePath) -> dict[str, Any]:
    try:
        if path.is_fifo() and path.resolve().parts[1] not in ("dev", "proc"):  # not <(…), which somebody writes to
            raise SettingsError([f"{path}: is a named pipe, not a file"])
        text = path.read_bytes().decode().removeprefix("\ufeff")
        return tomllib.loads(text)
    except FileNotFoundError:
        raise SettingsError([f"{path}: there is no such file"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: byte {error.start + 1} is not UTF-8, and TOML is"]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: {explained(str(error), text)}"]) from None
    except ValueError as error:  # a number of thousands of digits
        raise SettingsError([f"{path}: not TOML that can be read: {str(error).partition(';')[0]}"]) from None


def _tables(tree: dict[str, Any], unreadable: list[Fault]) -> tuple[File, list[Fault]]:
    for fault in unreadable:
        tree = without(tree, fault.path)
    try:
        return File.model_validate(tree), []
    except ValidationError as error:
        refused = list(of_values(error, File))
    for fault in refused:
        tree = without(tree, fault.path)
    return File.model_validate(tree), refused


def _rules(file: File, references: References, tree: dict[str, Any], environ: Mapping[str, str]) -> Iterator[Fault]:
    yield from daemon_rules(file.daemon)
    for name, table in file.functions.items():
        yield from function_rules(name, table, find(tree, ("functions", name)))
    for name, mapping in file.mappings.items():
        yield from mapping_rules(name, mapping, find(tree, ("mappings", name)))
    yield from region_rules(file, environ)
    yield from references.faults
    yield from duplicate_rules(file, references, tree)


def _settings(
    file: File, references: References, tree: dict[str, Any], path: FilePath, environ: Mapping[str, str]
) -> Settings:
    mappings = [mapping_value(name, table, references.meant[name]) for name, table in file.mappings.items()]
    return Settings(
        daemon=file.daemon.value(path, environ),
        functions=references.functions,
        queue_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, QueueMapping)),
        stream_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, StreamMapping)),
        withheld_variables=withheld_variables(tree),
        warnings=tuple(advice(file, references, tree)),
    )
