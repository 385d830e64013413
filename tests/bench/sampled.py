"""Run the daemon, and look again and again which part of it uses the processor. `shares.py` starts it.

    python -m tests.bench.sampled FILE run -c poller.toml

After each millisecond of CPU time, the kernel sends SIGPROF. Python calls the handler before its next instruction, and
a look counts for the innermost function of poller. So the time of a call of the system counts for the function that
runs after it: that of the sockets counts for the event loop or for HTTP. When the daemon ends, the numbers are in FILE.
"""

from __future__ import annotations

import atexit
import json
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from poller.__main__ import main

CPU_SECONDS_BETWEEN_LOOKS = 0.001
SOCKETS = "sockets and HTTP"
PARTS: Mapping[str, str] = {
    "aws/signing": "signing",
    "aws": "clients",
    "http": SOCKETS,
    "sources": "source",
    "core/filtering": "filter",
    "core/envelope": "envelope",
    "core": "engine",
    "engine": "engine",
    "functions": "function",
    "targets": "function",
    "facts": "facts",
    "telemetry": "facts",
    "stores": "state",
    "sqlite": "state",
}
"""The part of each module, by the beginning of its path in `poller/`; the longest one counts."""

LOOP = "asyncio/runners.py"
looks: Counter[str] = Counter()


def look(_number: int, frame: FrameType | None) -> None:
    """Count the part of the daemon that runs. Before the event loop runs, nothing counts."""
    part: str | None = None
    while frame is not None:
        path = frame.f_code.co_filename
        if path.endswith(LOOP):
            looks[part or SOCKETS] += 1
            return
        if part is None and "/poller/" in path:
            part = part_of(path.rpartition("/poller/")[2])
        frame = frame.f_back


def part_of(path: str) -> str:
    found = max((known for known in PARTS if path.startswith(known)), key=len, default=None)
    return "rest" if found is None else PARTS[found]


if __name__ == "__main__":
    file = Path(sys.argv.pop(1))
    atexit.register(lambda: file.write_text(json.dumps(looks)))
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_BETWEEN_LOOKS, CPU_SECONDS_BETWEEN_LOOKS)
    main()
