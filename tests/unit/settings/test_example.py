"""config/poller.toml explains every option, and is sound."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from poller.settings.daemon import DaemonOptions
from poller.settings.functions import FunctionOptions
from poller.settings.loading import load
from poller.settings.mappings import MappingOptions
from poller.settings.options import Options, leaves
from poller.settings.table import ABSENT, find

EXAMPLE = Path(__file__).parents[3] / "config" / "poller.toml"


def test_the_example_is_sound_and_needs_no_advice() -> None:
    settings = load(EXAMPLE, {"DATABASE_PASSWORD": "a", "NOTIFY_TOKEN": "b", "POLLER_ADMIN_TOKEN": "c"})
    assert len(settings.queue_mappings) == 3
    assert len(settings.stream_mappings) == 2
    assert settings.warnings == ()


def test_the_example_shows_every_option_there_is() -> None:
    tree = tomllib.loads(EXAMPLE.read_text())
    tables: list[tuple[type[Options], list[Any]]] = [
        (DaemonOptions, [tree["daemon"]]),
        (FunctionOptions, list(tree["functions"].values())),
        (MappingOptions, list(tree["mappings"].values())),
    ]
    missing = [
        ".".join(option)
        for model, written in tables
        for option in leaves(model)
        if all(find(table, option) is ABSENT for table in written)
    ]
    assert missing == []
