"""Which tables may a settings file have? `[daemon]`, `[functions.*]` and `[mappings.*]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from poller.settings.daemon import DaemonOptions
from poller.settings.faults import Fault
from poller.settings.fields import Name
from poller.settings.functions import FunctionOptions
from poller.settings.mappings import MappingOptions
from poller.settings.options import Options
from poller.settings.reading import Entry, read
from poller.settings.table import find


class FileOptions(Options):
    """The settings of poller: mappings bind sources to functions, with AWS Lambda's options in snake case."""

    daemon: DaemonOptions = Field(default_factory=DaemonOptions)
    """The settings of the whole process."""

    functions: dict[Name, FunctionOptions] = Field(default_factory=dict)
    """The functions, each under a name of your choice."""

    mappings: dict[Name, MappingOptions] = Field(default_factory=dict)
    """The mappings, each under a name of your choice."""


@dataclass(frozen=True, slots=True)
class File:
    """The entries of the whole file.

    `stated_functions` are all keys of [functions], including those whose table cannot be read.
    """

    daemon: Entry[DaemonOptions]
    functions: Mapping[str, Entry[FunctionOptions]]
    mappings: Mapping[str, Entry[MappingOptions]]
    stated_functions: frozenset[str]


def read_file(table: dict[str, Any], unreadable: list[Fault]) -> tuple[File, list[Fault]]:
    """Return the entries of the file, and a fault for each value that cannot be read.

    `unreadable` are the faults that earlier steps have found. They come first in the list.
    """
    options, faults = read(FileOptions, table, unreadable)
    functions, daemon = table.get("functions"), table.get("daemon")
    file = File(
        daemon=Entry("daemon", ("daemon",), options.daemon, daemon if isinstance(daemon, dict) else {}),
        functions={
            name: Entry(name, ("functions", name), values, find(table, ("functions", name)))
            for name, values in options.functions.items()
        },
        mappings={
            name: Entry(name, ("mappings", name), values, find(table, ("mappings", name)))
            for name, values in options.mappings.items()
        },
        stated_functions=frozenset(functions if isinstance(functions, dict) else ()),
    )
    return file, faults
