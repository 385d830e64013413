"""`python -m poller` is `poller`.

The daemon needs most of a second to start, and may get a signal before its own handlers are ready. So `main` first
prepares for the signals, and only then imports other modules.

    SIGTERM, SIGINT   end the process at once, because no record is in hand yet
    SIGHUP            is blocked, so the system keeps it until app.py or workers/parent.py can receive it; the daemon
                      then reads its file again, which may have changed since it was read

A shell or a supervisor may start the process with a standard stream closed (`>&-`). The first file or socket that the
daemon opens would then get the stream's number, and no child process could be started.
"""

import gc
import os
import signal
import sys
from types import FrameType


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once)
    from poller.garbage import THRESHOLDS

    gc.set_threshold(*THRESHOLDS)
    _open_standard_streams()
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
