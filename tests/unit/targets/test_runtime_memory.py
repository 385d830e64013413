"""Which children use more memory than they may?"""

from __future__ import annotations

import subprocess
import sys

import pytest

from poller.targets.runtime.memory import exceeding
from poller.targets.runtime.sessions import is_supported

MIB = 2**20

TWO_PROCESSES = """
import os, sys
os.fork()
memory = b"x" * int(sys.argv[1])
os.write(1, b"ready\\n")  # in one piece: if output is unbuffered, print() writes the line end apart
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.skipif(not is_supported(), reason="only Linux tells what a process uses")
def test_the_memory_of_all_processes_of_a_session_counts_together() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TWO_PROCESSES, str(64 * MIB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        for _ in range(2):
            assert child.stdout.readline() == "ready\n"
        assert exceeding([child.pid], 120 * MIB) == [child.pid]
        assert exceeding([child.pid], 250 * MIB) == []
