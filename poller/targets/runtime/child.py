"""How does one child process begin and end?

    start ── init, until it first asks for an invocation ──> invocation after invocation ──> end

A child runs in a session and a process group of its own. So a terminal's Ctrl-C does not reach the child, and the
processes that it started end with it.
A child ends by itself, by `kill` (SIGKILL at once), or by `ask_to_stop` (SIGTERM, and SIGKILL after a grace).
If the daemon is killed, the child ends, too (`launching.py`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from typing import Literal

import anyio
from anyio.abc import Process, TaskStatus

from poller.facts import ChildProcessOutput, ChildProcessOutputLeftOut, ChildProcessStarted, ChildProcessStopped, Emit
from poller.model.function import ChildProcess, Function
from poller.model.ids import MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, Response
from poller.targets.failures import exited, init_timed_out, ran_out_of_memory, timed_out
from poller.targets.runtime.api import Handover, RuntimeApi
from poller.targets.runtime.environment import memory_size_in_mb
from poller.targets.runtime.launching import StartError, launched
from poller.targets.runtime.log_tail import LogTail, Report
from poller.targets.runtime.memory import peak_in_bytes
from poller.targets.runtime.output import Output
from poller.targets.runtime.output_limit import OutputLimit
from poller.targets.runtime.recent_output import RecentOutput

StopReason = Literal["idle", "timeout", "exit", "init_error", "out_of_memory", "reload", "shutdown"]
Stream = Literal["stdout", "stderr"]
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")

GRACE_IN_SECONDS = 2.0
"""The time from SIGTERM to SIGKILL."""

LAST_OUTPUT_IN_SECONDS = 1.0
"""How long output is read after the child's end. A process that left the group may hold the pipes open for ever."""


class Child:
    """One process and its Runtime API. While `live` runs, `invoke` may be called, one call at a time."""

    def __init__(
        self,
        function: Function,
        *,
        init_in_seconds: float,
        output_limit: OutputLimit,
        recent_output: RecentOutput,
        descriptor_limit: int | None = None,
        emit: Emit,
    ) -> None:
        """`descriptor_limit` is the child's soft limit of open files: -1 for no limit, None for the daemon's limit."""
        self.is_alive = True
        assert isinstance(function.kind, ChildProcess), function.kind
        self._function = function
        self._memory_size_in_mb = memory_size_in_mb(function.kind)
        self._init_in_seconds = init_in_seconds
        self._emit = emit
        self._api = RuntimeApi(function, before_event=self._before_event, emit=emit)
        self._output_limit = output_limit
        self._recent_output = recent_output
        self._descriptor_limit = descriptor_limit
        self._outputs: list[Output] = []
        self._invocation: tuple[MappingName | None, RequestId] | None = None  # the present or last one
        self._log_tail: LogTail | None = None  # of the present invocation, if its client wants one
        self.pid = 0  # 0 until it has started
        self.started_at = 0.0  # on anyio's clock
        self._reason: StopReason | None = None
        self._error: Callable[[RequestId], FunctionError] | None = None  # the error of a killed invocation
        self._stop_asked = anyio.Event()

    @property
    def is_initialised(self) -> bool:
        """Return whether the child process has ever asked for an invocation."""
        return self._api.has_asked

    @property
    def is_usable(self) -> bool:
        """Return whether the child process may get another invocation."""
        return self.is_alive and self._reason is None

    async def live(
        self,
        kind: ChildProcess,
        environment: Callable[[str], Mapping[str, str]],
        lifeline: int,
        *,
        task_status: TaskStatus[None],
    ) -> None:
        """Start the command, and return when it has ended. Raises StartError. Kills the child process if cancelled.

        `environment` returns the child's variables for an address of the Runtime API. `lifeline` is the reading end of
        the pipe of the daemon.
        """
        with ExitStack() as stack:
            try:
                address = stack.enter_context(self._api.listening())
                for name in STREAMS:
                    self._outputs.append(stack.enter_context(closing(self._output(name))))
                stdout, stderr = (one.writing for one in self._outputs)
                process = await launched(
                    kind, environment(address), lifeline, stdout, stderr, descriptor_limit=self._descriptor_limit
                )
            except OSError as error:
                raise StartError(f"{kind.command[0]}: {error.strerror}") from error
            async with process:
                self.pid = process.pid
                self.started_at = anyio.current_time()
                self._emit(ChildProcessStarted(function=self._function.name, pid=process.pid))
                try:
                    task_status.started()
                    await self._attend(process)
                finally:
                    self._end(process.returncode)

    async def invoke(self, invocation: Invocation) -> Response | None:
        """Give the child process the invocation when it asks for one, and return the response.

        Returns None if an initialised child ended before it took the invocation, so that another child may run it.
        The function's timeout begins when the child takes the invocation.
        Kills the child if cancelled, because the invocation may be running.
        """
        handover = Handover(invocation)
        try:
            if invocation.wants_log_tail:
                return await self._with_log_tail(handover)
            return await self._within_limits(handover)
        except BaseException:
            self.kill("shutdown")
            raise

    def ask_to_stop(self, reason: StopReason) -> None:
        """Send SIGTERM to the whole process group, and SIGKILL after the grace."""
        self._reason = self._reason or reason
        self._stop_asked.set()

    def kill(self, reason: StopReason) -> None:
        """Send SIGKILL to the whole process group."""
        self._reason = self._reason or reason
        self._signal(signal.SIGKILL)

    def kill_for_memory(self, limit_in_mb: int) -> None:
        """Kill the process group, because it uses too much memory. On Lambda, the kernel does this."""
        self._error = partial(ran_out_of_memory, limit_in_mb=limit_in_mb)
        self.kill("out_of_memory")

    async def _within_limits(self, handover: Handover) -> Response | None:
        was_initialised = self.is_initialised
        self._api.offer(handover)
        with anyio.move_on_after(self._init_in_seconds) as starting:
            await handover.taken.wait()
        if starting.cancelled_caught and not handover.taken.is_set():
            self.kill("timeout")
            request_id = handover.invocation.request_id
            return None if was_initialised else init_timed_out(request_id, self._init_in_seconds)
        with anyio.move_on_after(self._function.timeout_in_seconds):
            await handover.settled.wait()
        if not handover.settled.is_set():
            self.kill("timeout")
            with anyio.move_on_after(GRACE_IN_SECONDS):
                await handover.settled.wait()  # wait for its end: two children must not run at once
            return timed_out(handover.invocation.request_id, self._function.timeout_in_seconds)
        if not self.is_initialised:
            self.ask_to_stop("init_error")
        return handover.response

    async def _with_log_tail(self, handover: Handover) -> Response | None:
        """Run the invocation, and add the end of its log to the response."""
        was_initialised = self.is_initialised
        self._log_tail = tail = LogTail(began_at=anyio.current_time())
        try:
            response = await self._within_limits(handover)
            ended_at = anyio.current_time()
            for output in self._outputs:
                await output.catch_up()
        finally:
            self._log_tail = None
        if not isinstance(response, Answered | FunctionError):
            return response
        report = Report(
            duration_in_seconds=ended_at - tail.began_at,
            init_in_seconds=None if was_initialised else tail.began_at - self.started_at,
            memory_size_in_mb=self._memory_size_in_mb,
            peak_memory_in_bytes=peak_in_bytes(self.pid) if self.is_alive else None,
        )
        return replace(response, log_tail=tail.text(handover.invocation.request_id, report))

    async def _attend(self, process: Process) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_when_asked)
            tasks.start_soon(self._api.serve, process.pid)
            async with anyio.create_task_group() as readers:
                for output in self._outputs:
                    readers.start_soon(output.run)
                await process.wait()
                self._kill_group()
                readers.cancel_scope.deadline = anyio.current_time() + LAST_OUTPUT_IN_SECONDS
            tasks.cancel_scope.cancel()

    async def _stop_when_asked(self) -> None:
        await self._stop_asked.wait()
        if self._reason != "init_error":  # the child exits by itself; a signal would garble its last output
            self._signal(signal.SIGTERM)
        await anyio.sleep(GRACE_IN_SECONDS)
        self._signal(signal.SIGKILL)

    async def _before_event(self, invocation: Invocation) -> None:
        """Log what the child process has written so far, because it belongs to the invocation before this one."""
        for output in self._outputs:
            await output.catch_up()
        if self._log_tail is not None:
            self._log_tail.begin(anyio.current_time(), keeps_lines=self._invocation is None)
        self._invocation = (invocation.mapping, invocation.request_id)

    def _output(self, stream: Stream) -> Output:
        def log_line(line: str) -> None:
            if self._log_tail is not None:
                self._log_tail.add(line)
            self._recent_output.add(self.pid, line)
            mapping, request_id = self._invocation or (None, None)
            self._emit(
                ChildProcessOutput(
                    function=self._function.name,
                    pid=self.pid,
                    stream=stream,
                    line=line,
                    mapping=mapping,
                    request_id=request_id,
                )
            )

        return Output(self._output_limit, log_line=log_line, report_left_out=self._report_left_out)

    def _report_left_out(self) -> None:
        lines = self._output_limit.take_left_out()
        if lines:
            self._emit(ChildProcessOutputLeftOut(function=self._function.name, lines=lines))

    def _end(self, status: int | None) -> None:
        self._kill_group()
        self._report_left_out()
        self._api.end(self._error or partial(exited, status=status))
        reason = self._reason or ("exit" if self.is_initialised else "init_error")
        self._emit(ChildProcessStopped(function=self._function.name, pid=self.pid, reason=reason, exit_status=status))

    def _kill_group(self) -> None:
        """Kill the processes that are left in the process group, with the watcher.

        Afterwards the system may reuse the group's id.
        """
        self._signal(signal.SIGKILL)
        self.is_alive = False

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole process group.

        The group's id is not reused, because the watcher lives and ignores SIGTERM.
        """
        if self.is_alive and self.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
