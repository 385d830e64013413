"""Handlers as users write them for Lambda; this module does not know poller."""

import logging
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

invocations = 0

log = logging.getLogger()
log.setLevel(logging.INFO)


class Group:
    @staticmethod
    def inner(event: Any, context: Any) -> str:
        return "reached"


def count(event: Any, context: Any) -> dict[str, int]:
    """Return how often this process was called."""
    global invocations
    invocations += 1
    return {"invocations": invocations, "pid": os.getpid(), "records": len(event.get("Records", []))}


def environment(event: Any, context: Any) -> dict[str, str]:
    return dict(os.environ)


def whoami(event: Any, context: Any) -> dict[str, Any]:
    return {
        "aws_request_id": context.aws_request_id,
        "function_name": context.function_name,
        "function_version": context.function_version,
        "invoked_function_arn": context.invoked_function_arn,
        "memory_limit_in_mb": context.memory_limit_in_mb,
        "log_group_name": context.log_group_name,
        "has_log_stream": bool(context.log_stream_name),
        "custom": context.client_context and context.client_context.custom,
        "remaining_in_ms": context.get_remaining_time_in_millis(),
        "trace": os.environ["_X_AMZN_TRACE_ID"],
        "directory": str(Path.cwd().resolve()),
    }


def nothing(event: Any, context: Any) -> None:
    return None


def fail(event: Any, context: Any) -> None:
    raise ValueError("no such user")


def fail_at_length(event: Any, context: Any) -> None:
    raise ValueError("x" * 50_000)


def unserialisable(event: Any, context: Any) -> Any:
    return {1, 2}


def numbers(event: Any, context: Any) -> Any:
    return [Decimal(3), Decimal("0.5"), "é"]


def say(event: Any, context: Any) -> None:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    log.info("to the log")
    sys.stdout.buffer.write(b"no utf-8: \xff\n" + b"y" * 20_000 + b"\n")
    sys.stdout.buffer.flush()


def say_who_is_asking(event: Any, context: Any) -> None:
    print(context.aws_request_id)
    print(context.aws_request_id, file=sys.stderr)


def exit_with(event: Any, context: Any) -> None:
    sys.stdout.write("last words")
    sys.stdout.flush()
    os._exit(event["status"])


def sys_exit(event: Any, context: Any) -> None:
    sys.exit(3)


def kill_self(event: Any, context: Any) -> None:
    os.kill(os.getpid(), getattr(signal, event["signal"]))
    time.sleep(60)


def sleep(event: Any, context: Any) -> None:
    """Start a process that outlives the call, write its id, and sleep."""
    other = subprocess.Popen(["sleep", "600"])
    print("grandchild", other.pid)
    time.sleep(event["seconds"])


def exit_leaving_another(event: Any, context: Any) -> None:
    other = subprocess.Popen(["sleep", "600"])
    print("grandchild", other.pid)
    os._exit(0)


def leave_a_daemon(event: Any, context: Any) -> None:
    """Start a process in its own session, which inherits every open file. Then perhaps exit."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(theirs, b".")
        time.sleep(600)
    os.read(ours, 1)
    print("grandchild", pid)
    if event.get("exit"):
        os._exit(3)


def hoard(event: Any, context: Any) -> int:
    """Allocate this number of megabytes, in this process or in a new one."""
    size = event["megabytes"] * 2**20
    if event.get("elsewhere"):
        subprocess.run([sys.executable, "-c", f"import time; kept = b'x' * {size}; time.sleep(600)"])
    kept = b"x" * size
    if event.get("forks"):
        for _ in range(event["forks"]):
            if os.fork() == 0:
                time.sleep(600)
    time.sleep(event.get("seconds", 600))
    return len(kept)


def huge(event: Any, context: Any) -> str:
    return "x" * int(event["size"])


async def coroutine(event: Any, context: Any) -> int:
    import asyncio

    return id(asyncio.get_running_loop())
