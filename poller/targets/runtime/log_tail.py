"""Which text is the log tail of an invocation? The last 4 KB of its log, in the form of Lambda's log.

    START RequestId: ID Version: $LATEST
    what the function wrote
    END RequestId: ID
    REPORT RequestId: ID	Duration: 1.23 ms	Billed Duration: 2 ms	Memory Size: 128 MB	Max Memory Used: 40 MB	…

If the text is longer, its beginning is cut off.
The log tail has only lines that the daemon logs. `output_limit.py` says how many lines these are.

Source: AWS Lambda API Reference, "Invoke", LogType; recorded answers of Lambda.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from poller.model.ids import RequestId

LIMIT_IN_BYTES = 4096


class Report(NamedTuple):
    """The numbers of the REPORT line.

    `init_in_seconds` is None unless the invocation was the first of its child process.

    `peak_memory_in_bytes` is None if this system does not show it.
    """

    duration_in_seconds: float
    init_in_seconds: float | None
    memory_size_in_mb: int
    peak_memory_in_bytes: int | None


class LogTail:
    """The last lines that a function wrote during one invocation.

    `began_at` is the time at which the child took the invocation. Until then, it is the time of the offer.
    """

    def __init__(self, *, began_at: float) -> None:
        self.began_at = began_at
        self._lines: deque[bytes] = deque()
        self._bytes = 0

    def add(self, line: str) -> None:
        encoded = line.encode()[-LIMIT_IN_BYTES:] + b"\n"
        self._lines.append(encoded)
        self._bytes += len(encoded)
        while self._bytes - len(self._lines[0]) >= LIMIT_IN_BYTES:
            self._bytes -= len(self._lines.popleft())

    def begin(self, now: float, *, keeps_lines: bool) -> None:
        """Note that the child process takes the invocation.

        Earlier lines are kept only if the child wrote them in its init.
        """
        self.began_at = now
        if not keeps_lines:
            self._lines.clear()
            self._bytes = 0

    def text(self, request_id: RequestId, report: Report) -> str:
        """Return the text of the log tail, with the lines START, END and REPORT that Lambda adds."""
        start = f"START RequestId: {request_id} Version: $LATEST\n".encode()
        end = f"END RequestId: {request_id}\n{_report_line(request_id, report)}\n".encode()
        return (start + b"".join(self._lines) + end)[-LIMIT_IN_BYTES:].decode(errors="ignore")


def _report_line(request_id: RequestId, report: Report) -> str:
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {report.duration_in_seconds * 1000:.2f} ms",
        f"Billed Duration: {math.ceil(report.duration_in_seconds * 1000)} ms",
        f"Memory Size: {report.memory_size_in_mb} MB",
    ]
    if report.peak_memory_in_bytes is not None:
        fields.append(f"Max Memory Used: {math.ceil(report.peak_memory_in_bytes / 2**20)} MB")
    if report.init_in_seconds is not None:
        fields.append(f"Init Duration: {report.init_in_seconds * 1000:.2f} ms")
    return "\t".join(fields) + "\t"
