"""Which settings does the daemon use, and what would a reload change? A person sees both on the page /settings.

    text of the last reload ──> the settings as TOML, with their defaults and without secrets
    file as it is now       ──> a note if it is another text, or has faults
    options of the start    ──> a note for each option whose new value waits for a restart

The daemon keeps only the text. It reads the text again when a person looks, so that a thousand mappings take little
memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from poller.errors import SettingsError
from poller.model.ids import MappingName
from poller.model.status import ShownSettings
from poller.settings.changes import needs_restart
from poller.settings.loading import Examined, examine_text, text_of
from poller.settings.showing import effective_toml
from poller.settings.values import Daemon, Settings


class InUse(NamedTuple):
    """The settings with which a process of the daemon begins. `text` is the file as the daemon has read it last."""

    settings: Settings
    text: str

    @classmethod
    def of(cls, found: Examined) -> Self:
        """Return the settings of a daemon that starts with this file."""
        return cls(found.settings, found.text)


class TextInUse(NamedTuple):
    """The text of the file when the daemon used it last: at the start, or at the last reload without a fault.

    `at_start` are the options of [daemon] with which the daemon started.
    `not_replaced` are the mappings that the last reload failed to replace.
    """

    text: str
    at_start: Daemon
    not_replaced: Collection[MappingName] = ()


def shown_settings(in_use: TextInUse, path: Path, environ: Mapping[str, str]) -> ShownSettings:
    """Return the settings in use. `path` is the file, which may be another one now, or missing."""
    found = examine_text(in_use.text, path, environ)
    notes = [
        *_of_the_file(in_use.text, path, environ),
        *(
            f"{option}: the value below takes effect at the next restart"
            for option in needs_restart(in_use.at_start, found.settings)
        ),
        *(
            f"mappings.{name}: the last reload failed to replace the mapping, so it still has its former options"
            for name in in_use.not_replaced
        ),
    ]
    return ShownSettings(effective_toml(found.settings, found.table), tuple(notes))


def _of_the_file(text: str, path: Path, environ: Mapping[str, str]) -> Iterator[str]:
    try:
        if (now := text_of(path)) != text:
            examine_text(now, path, environ)
            yield f"{path} has changed since then; `poller reload` applies it"
    except SettingsError as error:
        yield f"{path} has faults now, so `poller reload` changes nothing"
        yield from error.faults
