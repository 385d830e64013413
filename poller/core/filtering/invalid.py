"""What is wrong with a pattern, and where?"""

from __future__ import annotations

Place = tuple[str, ...]
"""The path from the pattern's root to a place in it: keys, and `[0]` for the first item of an array."""


class InvalidPattern(ValueError):
    """The pattern breaks a rule of the pattern language. Parsing and compiling raise it; a match never does."""

    def __init__(self, what: str, place: Place = ()) -> None:
        spot = "".join(step if step.startswith("[") else f".{step}" for step in place).removeprefix(".")
        where = f" (at {spot})" if spot else ""
        super().__init__(f"Invalid filter pattern definition. {what}{where}.")
