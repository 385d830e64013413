"""A module that ignores SIGTERM and does not end with its runtime."""

import signal
import threading
import time

signal.signal(signal.SIGTERM, lambda *_: print("not yet"))
threading.Thread(target=time.sleep, args=(600,)).start()


def handler(event: object, context: object) -> None:
    """Does nothing."""
