"""`python -m poller` is `poller`.

The daemon needs most of a second to start, and may get a signal to stop before its own handler is ready. No record is
in hand then. So `main` first sets a handler that just ends the process, and only then imports large modules.
A shell or a supervisor may start the process with a standard stream closed (`>&-`). The first file or socket that the
daemon opens would then get the stream's number, and no child process could be started.
"""

import gc
import os
import signal
import sys
from types import FrameType

from poller.garbage import THRESHOLDS


def main() -> None:
    gc.set_threshold(*THRESHOLDS)
    _open_standard_streams()
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
    from poller.cli import main as run_command

    try:
        run_command()
    finally:
        gc.freeze()  # the interpreter's last search for garbage then skips the modules, which would take 0.15 s


def _open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
            assert opened == number, opened
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


if __name__ == "__main__":
    main()
