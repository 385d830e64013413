"""Does this machine have the handlers' modules, the programs and the folders that the file names?

`poller check` may run on another machine than the daemon, so a missing thing is a warning, not a fault.
The check imports and runs nothing. It does not look for the module of a handler that has its own `python`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path as FilePath

from poller.model.function import ChildProcess
from poller.settings.faults import Fault, in_a_line
from poller.settings.file import FileOptions
from poller.settings.loading import Examined
from poller.settings.table import ABSENT, find
from poller.settings.values import Settings


def missing(examined: Examined, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each missing thing."""
    for fault in (*_missing_code(examined.settings, environ), *_missing_folders(examined)):
        yield in_a_line(fault, examined.table, FileOptions)


def _missing_code(settings: Settings, environ: Mapping[str, str]) -> Iterator[Fault]:
    for name, function in settings.functions.items():
        kind = function.kind
        if not isinstance(kind, ChildProcess):
            continue
        variables = {**environ, **kind.environment}
        if not _is_program(kind.command[0], kind.directory, variables.get("PATH")):
            key = "command" if kind.handler is None else "python"
            yield Fault(("functions", name, key), _why_not(kind.command[0], kind.directory))
        elif kind.handler is not None and kind.command[0] == sys.executable:
            folders = [kind.directory, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
            if not _is_module(kind.handler.partition(":")[0], folders):
                yield Fault(("functions", name, "handler"), "its module is neither beside this file nor installed")


def _missing_folders(examined: Examined) -> Iterator[Fault]:
    daemon = examined.settings.daemon
    for option, address, is_used in (
        ("state", daemon.state, bool(examined.settings.stream_mappings)),
        ("event_queue", daemon.event_queue or "", find(examined.table, ("daemon", "event_queue")) is not ABSENT),
    ):
        scheme, _, path = address.partition("://")
        if is_used and scheme == "sqlite" and not FilePath(path).parent.is_dir():
            yield Fault(("daemon", option), "its folder does not exist")


def _is_program(name: str, directory: str, path: str | None) -> bool:
    return shutil.which(str(FilePath(directory, name)) if "/" in name else name, path=path) is not None


def _why_not(name: str, directory: str) -> str:
    if "/" not in name:
        return "there is no such program on PATH"
    if FilePath(directory, name).is_file():
        return "is not executable"
    rule = "" if FilePath(name).is_absolute() else "; a relative path begins at the folder of this file"
    return f"there is no such program{rule}"


def _is_module(name: str, folders: Sequence[str]) -> bool:
    first, *others = name.split(".")
    spec = PathFinder.find_spec(first, folders) or _installed(first)
    for part in others:
        if spec is None or spec.submodule_search_locations is None:
            return False
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec is not None


def _installed(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # a module without a spec, such as __main__
        return None
