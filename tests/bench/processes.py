"""How are the benchmark's children run, and what do they cost?

One `with` starts each child process, and always ends it, by its process id.
The costs are those of the child process and of all its descendants, read from Linux's `/proc`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_IN_SECONDS = 10.0
ROOT = Path(__file__).parents[2]

_CPU_CLOCK_OF_PROCESS = 2
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

CANNED = (sys.executable, "-m", "tests.bench.servers.canned")
"""The command of an SQS queue with its function. It is for `serving`."""

ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": os.environ.get("HOME", "/"),
    "AWS_ACCESS_KEY_ID": "000000000000",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""The whole environment of a child process. It has no proxies and no AWS profiles of the user."""


class ChildError(Exception):
    """Raised if a child process ended too early or did not start. The text ends with its last output."""


class Child:
    """A running child process. `output` is the file with its standard output and error."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output

    def check(self) -> None:
        if (status := self._process.poll()) is not None:
            raise ChildError(f"ended with status {status}: {self.last_words()}")

    def last_words(self) -> str:
        return self._output.read_bytes()[-2000:].decode(errors="replace").strip()

    def pause(self) -> None:
        """Stop the process and its descendants (SIGSTOP) from now on."""
        _signal_all(self._tree(), signal.SIGSTOP)

    def wake(self) -> None:
        _signal_all(self._tree(), signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process during the block."""
        self.pause()
        try:
            yield
        finally:
            self.wake()

    @contextmanager
    def woken(self) -> Iterator[None]:
        """Let a stopped process run during the block."""
        self.wake()
        try:
            yield
        finally:
            self.pause()

    def cpu_seconds(self) -> float:
        """Return the user and system time since the start.

        It is exact for running processes, and in clock ticks for ended ones.
        """
        return sum(_living_cpu(pid) + _ended_children_cpu(pid) for pid in self._tree())

    def peak_memory(self) -> int:
        """Return the sum of the highest resident sizes of the processes, in bytes."""
        return sum(_status_bytes(pid, "VmHWM") for pid in self._tree())

    def memory(self) -> int:
        """Return the resident size now, in bytes."""
        return sum(_status_bytes(pid, "VmRSS") for pid in self._tree())

    def _tree(self) -> list[int]:
        return _tree(self._process.pid)


@contextmanager
def running(
    command: Sequence[str], *, folder: Path, name: str, environment: Mapping[str, str] = ENVIRONMENT
) -> Iterator[Child]:
    """Run a child process during the block. Then it gets SIGTERM, and is killed if it does not end."""
    output = folder / f"{name}.log"
    with output.open("wb") as log, _started(command, log, subprocess.DEVNULL, environment) as process:
        yield Child(process, output)


@contextmanager
def serving(command: Sequence[str], *, folder: Path, name: str) -> Iterator[int]:
    """Run a server that first prints its port, and ends when its input ends. Yields the port."""
    errors = folder / f"{name}.log"
    with errors.open("wb") as log, _started(command, subprocess.PIPE, subprocess.PIPE, ENVIRONMENT, log) as process:
        assert process.stdout
        assert process.stdin
        line = process.stdout.readline()
        if not line.strip():
            raise ChildError(f"{name} did not start: {errors.read_text()[-2000:]}")
        try:
            yield int(line)
        finally:
            process.stdin.close()


@contextmanager
def _started(
    command: Sequence[str], output: object, input_: int, environment: Mapping[str, str], errors: object = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        stdin=input_,
        stdout=output,  # type: ignore[call-overload]  # Popen takes a file, a descriptor or a constant
        stderr=errors or subprocess.STDOUT,
        env=dict(environment),
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    _signal_all(_tree(process.pid), signal.SIGCONT)  # a stopped process gets no other signal
    try:
        process.wait(GRACE_IN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tree(pid: int) -> list[int]:
    """Return this process and its descendants."""
    tree = [pid]
    for pid in tree:
        with suppress(FileNotFoundError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                tree += map(int, (task / "children").read_text().split())
    return tree


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _living_cpu(pid: int) -> float:
    """Return the CPU time of a running process.

    Linux has a clock for each process, whose id is made from the process id.
    """
    with suppress(OSError):
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK_OF_PROCESS)
    return 0.0


def _ended_children_cpu(pid: int) -> float:
    with suppress(FileNotFoundError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / _TICKS_PER_SECOND
    return 0.0


def _status_bytes(pid: int, field: str) -> int:
    with suppress(FileNotFoundError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
