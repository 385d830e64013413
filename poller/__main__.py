"""`python -m poller` is `poller`.

A daemon takes most of a second to come up, and may be told to stop before it listens for that: nothing is in hand then,
so it just ends.  Therefore this is the first thing that it does, before anything large is imported.
"""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
    from poller.cli import main as run_command

    run_command()


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    main()
