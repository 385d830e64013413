"""Does a seed replay exactly in another process? Hashes differ there, so sets have other orders."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

HASH_SEED = "1"


class Difference(NamedTuple):
    """The first line in which the histories of two processes differ."""

    line: int
    here: str | None
    there: str | None


def difference_in_another_process(history_of: Callable[[int], list[str]], seed: int) -> Difference | None:
    """Return the first difference between the histories of a seed in this process and in another one; None without one.

    `history_of` is a function of a module. It returns the lines of a history.
    """
    program = f"from {history_of.__module__} import {history_of.__name__} as of; print(*of({seed}), sep='\\n')"
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = enumerate(zip_longest(history_of(seed), other.stdout.splitlines()))
    return next((Difference(line, here, there) for line, (here, there) in pairs if here != there), None)
