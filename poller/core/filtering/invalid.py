"""What is wrong with a pattern, and where?"""

from __future__ import annotations

Place = tuple[str, ...]
"""The way from the pattern's root to the spot in question: keys, and `[0]` for the first item of an array."""


class InvalidPattern(ValueError):
    """The pattern breaks a rule of the pattern language; raised when filters are compiled, never by a match."""

    def __init__(self, what: str, place: Place = ()) -> None:
        spot = "".join(step if step.startswith("[") else f".{step}" for step in place).removeprefix(".")
        where = f" (at {spot})" if spot else ""
        super().__init__(f"Invalid filter pattern definition. {what}{where}.")
