"""Which tables are there? `[daemon]`, `[functions.*]` and `[mappings.*]`."""

from __future__ import annotations

from pydantic import Field

from poller.settings.daemon import DaemonTable
from poller.settings.fields import Name, Table
from poller.settings.functions import FunctionTable
from poller.settings.mappings import MappingTable


class File(Table):
    """The settings of poller: mappings bind sources to functions, with AWS Lambda's options in snake case."""

    daemon: DaemonTable = Field(default_factory=DaemonTable)
    """The settings of the whole process."""

    functions: dict[Name, FunctionTable] = Field(default_factory=dict)
    """The functions, each under a name of your choice."""

    mappings: dict[Name, MappingTable] = Field(default_factory=dict)
    """The mappings, each under a name of your choice."""
