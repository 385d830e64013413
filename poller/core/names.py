"""Which name did a person probably mean, if there is no such name?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NAMES_SHOWN = 10
"""How many of the known names a message lists. A file may have a thousand."""


def other_names(name: str, known: Iterable[str]) -> str:
    """Return a text with the known name that the person probably meant, or else with the first known names."""
    names = list(known)
    if meant := nearest(name, names):
        return f"did you mean {meant}?"
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"the names are {', '.join(names[:NAMES_SHOWN])}{more}" if names else "there are none"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that the person probably meant, or None. Upper and lower case are the same.

    For example, `maximum_concurrency` probably means `scaling_config.maximum_concurrency`.
    """
    words = {candidate.lower(): candidate for candidate in known}
    same = [candidate for candidate in words if candidate.rpartition(".")[2] == word.lower()]
    meant = same or difflib.get_close_matches(word.lower(), words, n=1)
    return words[meant[0]] if meant else None
