"""What happens to the child processes of a function?"""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.declaration import Counter, Gauge, Label, Line, declare
from poller.model.ids import FunctionName, MappingName, RequestId

CHILD_PROCESSES = Gauge("poller_child_processes", "Child processes that run now.", of="function")

CHILD_PROCESS_EXITS = Counter(
    "poller_child_process_exits_total",
    "Child processes that ended.",
    of="function",
    labels=(Label("reason", ("idle", "timeout", "exit", "init_error", "out_of_memory", "reload", "shutdown")),),
)
AS_PLANNED = ("idle", "reload", "shutdown")
"""The reasons for which the daemon itself ends a child process that works."""


@declare(
    Line("info", once_per=("function",)),
    CHILD_PROCESSES.by(1),
    Counter("poller_child_process_starts_total", "Child processes that were started.", of="function").by(1),
)
class ChildProcessStarted(NamedTuple):
    """The daemon started a child process for a function."""

    function: FunctionName
    pid: int


@declare(
    Line("info", when=lambda fact: fact.reason in AS_PLANNED, once_per=("function", "reason")),
    Line("warning", once_per=("function", "reason")),
    CHILD_PROCESSES.by(-1),
    CHILD_PROCESS_EXITS.by(1),
)
class ChildProcessStopped(NamedTuple):
    """A child process of a function ended. `exit_status` is its exit status, or -N after signal N. `reason` is `idle`
    (no invocation for a while), `timeout` (the invocation took too long), `exit` (it ended by itself), `init_error` (it
    could not initialise), `out_of_memory`, `reload` (`poller reload --function`), or `shutdown` (the daemon stops, or a
    reload has changed or removed the function).
    """

    function: FunctionName
    pid: int
    reason: Literal["idle", "timeout", "exit", "init_error", "out_of_memory", "reload", "shutdown"]
    exit_status: int | None


@declare(Line("info"))
class ChildProcessOutput(NamedTuple):
    """A child process of a function wrote a line. The line is output of the function, not of poller.

    `mapping` and `request_id` belong to the child's present or last invocation. They are None before the first
    invocation.
    """

    function: FunctionName
    pid: int
    stream: Literal["stdout", "stderr"]
    line: str
    mapping: MappingName | None = None
    request_id: RequestId | None = None


@declare(
    Line("warning"),
    Counter(
        "poller_child_process_lines_left_out_total",
        "Lines of child processes that are not in the log, because the function writes too many.",
        of="function",
    ).by("lines"),
)
class ChildProcessOutputLeftOut(NamedTuple):
    """The child processes of a function wrote more lines than poller logs, so `lines` of their lines are left out.

    While a function writes too much, this fact is emitted about once a second.
    """

    function: FunctionName
    lines: int


RejectionReason = Literal["another_process", "closed", "too_many_connections"]


@declare(
    Line("debug", when=lambda fact: fact.reason == "closed"),
    Line("warning", once_per=("function", "reason")),
    Counter(
        "poller_runtime_api_connections_rejected_total",
        "Connections to the Runtime API of a child process that the daemon rejected: another process made the "
        "connection, the child process has too many, or the client has closed the connection already.",
        of="function",
        labels=(Label("reason", ("another_process", "closed", "too_many_connections")),),
    ).by(1),
)
class RuntimeApiConnectionRejected(NamedTuple):
    """The daemon rejected a connection to a child process's Runtime API, because another process made the connection
    or because the child process has too many. With the reason `closed`, the client has closed the connection, for
    example because the child process was killed.

    `child_pid` is the id of the child process. The other process is not known.
    """

    function: FunctionName
    child_pid: int
    reason: RejectionReason
