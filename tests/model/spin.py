"""How do tests check a model with spin? Spin writes a C program that searches all states; gcc compiles it; it runs.

python -m tests.model.spin WORKERS=3 RECORDS=1        check one configuration of `leases.pml` by hand
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.installing import unavailable

MODEL = Path(__file__).with_name("leases.pml")


class Verdict(NamedTuple):
    """The result of a search. `broken` is the promise that a history breaks, in spin's words, or None."""

    broken: str | None
    is_complete: bool
    states: int
    unreached: list[str]
    output: str


def check(
    switches: Sequence[str], folder: Path, *, options: Sequence[str] = ("-O1",), depth: int = 1_000_000
) -> Verdict:
    """Search all states of the model with these switches, such as "FAULTS=1". The first broken promise ends the search.

    `folder` must be empty. `options` are those of the compiler. A history that is longer than `depth` makes the search
    incomplete.
    """
    spin = shutil.which("spin") or unavailable("spin is not installed")
    gcc = shutil.which("gcc") or unavailable("gcc is not installed")
    is_liveness = "PUNCTUAL" in switches
    _run([spin, "-a", *(f"-D{each}" for each in switches), str(MODEL)], folder)
    _run([gcc, "-w", *options, *([] if is_liveness else ["-DSAFETY"]), "-o", "pan", "pan.c"], folder)
    return _verdict(_run(["./pan", f"-m{depth}", *(["-a"] if is_liveness else [])], folder))


def _verdict(output: str) -> Verdict:
    broken = re.search(r"^pan:1: (.*) \(at depth \d+\)", output, re.MULTILINE)
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+|[\d.e+]+) states, stored", output)
    assert errors is not None, output
    assert states is not None, output
    assert (broken is None) == (errors[1] == "0"), output
    is_complete = not re.search(r"Search not completed|search depth too small|out of memory", output)
    unreached = [line.strip() for line in re.findall(r"^\t.*, state \d+, .*$", output, re.MULTILINE)]
    return Verdict(broken and broken[1], is_complete, int(float(states[1])), unreached, output)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(check(sys.argv[1:], Path(folder), options=("-O2", "-DCOLLAPSE"), depth=5_000_000).output)
