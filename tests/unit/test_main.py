"""`python -m poller` is `poller`."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import os, subprocess, sys
from poller.__main__ import main

def probe():
    sys.stdin.read()
    print("printed", flush=True)
    print("printed", file=sys.stderr)
    sys.exit(subprocess.run(["/bin/sh", "-c", "cat && echo child && echo child >&2"]).returncode)

import poller.cli
poller.cli.main = probe
main()
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_is_closed_at_the_start_is_opened(closed: str) -> None:
    """The streams are then /dev/null, for the process and for its child processes."""
    command = ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, SCRIPT]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ("" if ">&-" in closed.split() else "printed\nchild\n")
    assert ended.stderr == ("" if "2>&-" in closed.split() else "printed\nchild\n")
