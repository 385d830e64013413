"""`python -m poller` is `poller`.

The daemon needs most of a second to start, and may get a signal to stop before its own handler is ready. Nothing is in
hand then, so the process just ends. Therefore this handler is set first, before large modules are imported.
"""

import gc
import os
import signal
import sys
from types import FrameType

from poller.garbage import THRESHOLDS


def main() -> None:
    gc.set_threshold(*THRESHOLDS)
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
    from poller.cli import main as run_command

    try:
        run_command()
    finally:
        gc.freeze()  # the interpreter's last search for garbage then skips the modules, which would take 0.15 s


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    main()
