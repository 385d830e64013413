"""Which child runs an invocation, and when do children start and end? All tests use real processes."""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import orjson
import pytest

from poller.core.backoff import Backoff
from poller.facts import (
    ChildProcessOutput,
    ChildProcessOutputLeftOut,
    ChildProcessStarted,
    ChildProcessStopped,
    Fact,
    RuntimeApiConnectionRejected,
)
from poller.model.function import ChildProcess
from poller.model.function_status import LINES_KEPT
from poller.model.invocation import Answered, FunctionError, Invocation, Response, Unreachable
from poller.targets.runtime import RuntimeTarget
from poller.targets.runtime.child import Child
from poller.targets.runtime.output_limit import OutputLimit
from poller.targets.runtime.recent_output import RecentOutput
from tests.fakes.clock import jump
from tests.fakes.functions import (
    ALIAS,
    ARN,
    TRACE,
    bare_call,
    callable_kind,
    command_kind,
    full_call,
    function,
    invocation,
)
from tests.fakes.recorded import Recorded

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _much_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give children much time, so that a child which obeys SIGTERM ends by it even on a slow machine."""
    monkeypatch.setattr("poller.targets.runtime.child.GRACE_IN_SECONDS", 60.0)


@asynccontextmanager
async def opened(
    kind: ChildProcess,
    emit: Recorded,
    *,
    timeout_in_seconds: float = 60.0,
    reserved_concurrency: int = 2,
    idle_in_seconds: float = 300.0,
    init_in_seconds: float = 60.0,
    descriptor_limit: int | None = None,
) -> AsyncIterator[RuntimeTarget]:
    with anyio.fail_after(120):
        async with RuntimeTarget(
            function(kind, timeout_in_seconds=timeout_in_seconds, reserved_concurrency=reserved_concurrency),
            emit=emit,
            region="eu-west-1",
            endpoint_url=None,
            inherited=os.environ,
            descriptor_limit=descriptor_limit,
            idle_in_seconds=idle_in_seconds,
            init_in_seconds=init_in_seconds,
        ) as target:
            yield target


def call(payload: dict[str, Any] | None = None, request_id: str = "6f1d") -> Invocation:
    return invocation(orjson.dumps(payload or {}), request_id=request_id)


def answer(response: Response) -> Any:
    assert isinstance(response, Answered), response
    return orjson.loads(response.payload)


def error(response: Response) -> tuple[str, str]:
    assert isinstance(response, FunctionError), response
    return response.error_type, response.message


class Watched:
    """Another process. It is opened by its id before it ends, so that a test can wait for its end."""

    def __init__(self, pid: int) -> None:
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = -1

    def ends(self) -> bool:
        """Wait for its end for up to half a minute, and return whether it has ended."""
        if self._handle == -1:
            return True
        ready, *_ = select.select([self._handle], [], [], 30)
        os.close(self._handle)
        return bool(ready)


async def grandchild(emit: Recorded) -> Watched:
    fact = await emit.first(ChildProcessOutput, lambda fact: fact.line.startswith("grandchild"))
    return Watched(int(fact.line.split()[1]))


# A child's life


async def test_a_child_is_started_on_demand_used_again_and_keeps_its_state() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit) as target:
        assert emit.facts == []
        answers = [answer(await target.invoke(call(request_id=str(n)))) for n in range(3)]
    (started,) = emit.of(ChildProcessStarted)
    assert [one["invocations"] for one in answers] == [1, 2, 3]
    assert {one["pid"] for one in answers} == {started.pid}


async def test_a_program_is_looked_for_on_the_functions_own_path(tmp_path: Path) -> None:
    program = tmp_path / "program-of-mine"
    program.write_text("#!/bin/sh\nexit 4\n")
    program.chmod(0o700)
    kind = command_kind(program.name, environment={"PATH": str(tmp_path)})
    async with opened(kind, Recorded()) as target:
        assert error(await target.invoke(call()))[0] == "Runtime.ExitError"


async def test_the_first_reason_to_end_a_child_is_reported() -> None:
    emit = Recorded()
    kind = command_kind("sleep", "60")
    child = Child(
        function(kind), init_in_seconds=10.0, output_limit=OutputLimit(), recent_output=RecentOutput(), emit=emit
    )
    reading, writing = os.pipe()
    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                await tasks.start(child.live, kind, lambda address: os.environ, reading)
                child.kill("timeout")
                child.kill_for_memory(128)
    finally:
        os.close(reading)
        os.close(writing)
    (stopped,) = emit.of(ChildProcessStopped)
    assert stopped.reason == "timeout"


async def test_a_child_is_used_again_after_an_error() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:fail"), emit) as target:
        for n in range(2):
            assert error(await target.invoke(call(request_id=str(n)))) == ("ValueError", "no such user")
    assert len(emit.of(ChildProcessStarted)) == 1


async def test_an_invocation_that_has_a_slot_of_the_gate_does_not_wait_for_a_child_that_is_busy() -> None:
    emit = Recorded()
    async with (
        opened(callable_kind("sample:count"), emit, reserved_concurrency=1) as target,
        anyio.create_task_group() as tasks,
    ):
        for n in range(3):
            tasks.start_soon(target.invoke, call(request_id=str(n)))
    assert len(emit.of(ChildProcessStarted)) == 3


async def test_the_child_used_last_is_used_first() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit) as target:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.invoke, call(request_id="a"))
            tasks.start_soon(target.invoke, call(request_id="b"))
        pids = {answer(await target.invoke(call(request_id=str(n))))["pid"] for n in range(4)}
    assert len(emit.of(ChildProcessStarted)) == 2
    assert len(pids) == 1


async def test_an_idle_child_is_ended_and_another_one_is_started_when_needed() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit, idle_in_seconds=0.05) as target:
        await target.invoke(call())
        stopped = await emit.first(ChildProcessStopped)
        assert (stopped.reason, stopped.exit_status) == ("idle", 128 + signal.SIGTERM)
        assert answer(await target.invoke(call()))["invocations"] == 1


async def test_after_a_renewal_a_free_child_ends_and_the_next_invocation_gets_the_new_code(tmp_path: Path) -> None:
    emit, code = Recorded(), tmp_path / "renewed.py"
    code.write_text("def handler(event, context):\n    return 'old'\n")
    async with opened(callable_kind("renewed:handler", directory=tmp_path), emit) as target:
        assert answer(await target.invoke(call())) == "old"
        code.write_text("def handler(event, context):\n    return 'newer'\n")
        assert answer(await target.invoke(call())) == "old"
        target.renew()
        assert (await emit.first(ChildProcessStopped)).reason == "reload"
        assert answer(await target.invoke(call())) == "newer"


WAITING = """
import os
def handler(event, context):
    if event:
        print("waits", flush=True)
        open(event["gate"]).read()
    return os.getpid()
"""


async def test_a_renewal_lets_a_running_invocation_end_and_does_not_use_its_child_again(tmp_path: Path) -> None:
    emit, gate, pids = Recorded(), tmp_path / "gate", []
    os.mkfifo(gate)
    (tmp_path / "waiting.py").write_text(WAITING)
    kind = callable_kind("waiting:handler", directory=tmp_path)
    async with opened(kind, emit) as target, anyio.create_task_group() as tasks:

        async def invoke() -> None:
            pids.append(answer(await target.invoke(call({"gate": str(gate)}))))

        tasks.start_soon(invoke)
        old = await emit.first(ChildProcessOutput, lambda fact: fact.line == "waits")
        target.renew()
        with await anyio.to_thread.run_sync(gate.open, "w"):
            pass
        stopped = await emit.first(ChildProcessStopped)
        assert (stopped.pid, stopped.reason, pids) == (old.pid, "reload", [old.pid])
        assert answer(await target.invoke(call())) != old.pid
    assert len(emit.of(ChildProcessStarted)) == 2


async def test_a_renewal_ends_the_pause_after_failed_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.target.START", Backoff(initial=3600.0, maximum=3600.0))
    code = tmp_path / "broken.py"
    code.write_text("def handler(event, context)\n")
    async with opened(callable_kind("broken:handler", directory=tmp_path), Recorded()) as target:
        assert error(await target.invoke(call()))[0].endswith("SyntaxError")
        code.write_text("def handler(event, context):\n    return 'good'\n")
        target.renew()
        assert answer(await target.invoke(call())) == "good"


async def test_the_free_child_that_was_used_longest_ago_is_ended() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit, idle_in_seconds=60) as target:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.invoke, call(request_id="a"))
            tasks.start_soon(target.invoke, call(request_id="b"))
        jump(40)
        used = answer(await target.invoke(call()))["pid"]
        jump(30)
        stopped = await emit.first(ChildProcessStopped)
        assert stopped.reason == "idle"
        assert stopped.pid != used
        assert answer(await target.invoke(call()))["pid"] == used
    assert len(emit.of(ChildProcessStarted)) == 2


@pytest.mark.parametrize("limit", [None, 77, 256])
async def test_children_get_the_limit_of_open_files_that_the_daemon_was_started_with(
    limit: int | None, tmp_path: Path
) -> None:
    own, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    kind = command_kind("/bin/sh", "-c", f"echo $(ulimit -Sn) $(ulimit -Hn) $0 $1 > {tmp_path}/limits", "a b", "c")
    async with opened(kind, Recorded(), descriptor_limit=limit) as target:
        await target.invoke(call())
    assert (tmp_path / "limits").read_text().split() == [str(limit or own), str(hard), "a", "b", "c"]


async def test_children_are_leaders_of_their_own_sessions() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit) as target:
        pid = answer(await target.invoke(call()))["pid"]
        assert os.getsid(pid) == os.getpgid(pid) == pid


async def test_the_children_of_a_function_are_listed_with_what_they_do() -> None:
    async with opened(callable_kind("sample:sleep"), Recorded()) as target, anyio.create_task_group() as tasks:
        assert target.children() == []
        await target.invoke(call({"seconds": 0}))
        [idle] = target.children()
        assert (idle.is_busy, 0 <= idle.age_in_seconds < 60) == (False, True)
        tasks.start_soon(target.invoke, call({"seconds": 60}))
        await anyio.wait_all_tasks_blocked()
        assert [(child.pid, child.is_busy) for child in target.children()] == [(idle.pid, True)]
        tasks.cancel_scope.cancel()


async def test_the_last_lines_of_a_function_are_kept_and_of_a_long_line_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("poller.targets.runtime.recent_output.LINE_CHARACTERS", 9)
    emit = Recorded()
    async with opened(callable_kind("sample:say"), emit) as target:
        began_at = anyio.current_time()
        await target.invoke(call())
        await emit.first(ChildProcessOutput, lambda fact: fact.line == "y" * (20_000 - 16_384))
        lines, [child] = target.recent_output.lines(), target.children()
    assert "to stdout" in {text for _, _, text in lines}
    assert "to stderr" in {text for _, _, text in lines}
    assert "y" * 9 in {text for _, _, text in lines}
    assert {at >= began_at and of == child.pid for at, of, _ in lines} == {True}


async def test_no_more_than_the_last_lines_are_kept() -> None:
    recent = RecentOutput()
    for number in range(LINES_KEPT + 5):
        recent.add(7, str(number))
    assert [text for _, _, text in recent.lines()] == [str(number) for number in range(5, LINES_KEPT + 5)]


async def test_the_output_of_a_child_is_logged_line_by_line() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:say"), emit) as target:
        await target.invoke(call())
    lines = [(one.stream, one.line) for one in emit.of(ChildProcessOutput)]
    out = [line for stream, line in lines if stream == "stdout"]
    assert out[0] == "to stdout"
    assert out[1].startswith("[INFO]\t")
    assert out[1].endswith("Z\t6f1d\tto the log")
    assert out[2:] == ["no utf-8: \ufffd", "y" * 16_384, "y" * (20_000 - 16_384)]
    assert ("stderr", "to stderr") in lines


async def test_output_of_a_child_is_logged_with_its_invocation() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:say_who_is_asking"), emit) as target:
        for number in range(20):
            await target.invoke(call(request_id=f"request-{number}"))
    lines = [(one.line, one.request_id, one.mapping) for one in emit.of(ChildProcessOutput) if one.stream == "stdout"]
    assert lines == [(f"request-{n}", f"request-{n}", "new_users") for n in range(20)]
    assert {(one.line, one.request_id) for one in emit.of(ChildProcessOutput)} == {(line, line) for line, *_ in lines}


async def test_output_of_a_child_belongs_to_its_invocation_even_if_logging_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.targets.runtime.output.LINES_AT_A_TIME", 1)

    class SlowlyRecorded(Recorded):
        def __call__(self, fact: Fact) -> None:
            time.sleep(0.0005)
            super().__call__(fact)

    (tmp_path / "hasty.py").write_text(
        "import os\n\ndef handle(event, context):\n    os.write(1, f'{context.aws_request_id}\\n'.encode() * 200)\n"
    )
    emit = SlowlyRecorded()
    async with opened(callable_kind("hasty:handle", directory=tmp_path), emit) as target:
        for request_id in ("a", "b"):
            await target.invoke(call(request_id=request_id))
    assert Counter((one.line, one.request_id) for one in emit.of(ChildProcessOutput)) == {
        ("a", "a"): 200,
        ("b", "b"): 200,
    }


async def test_output_of_a_child_before_its_first_event_belongs_to_no_invocation() -> None:
    emit = Recorded()
    kind = command_kind("/bin/sh", "-c", 'echo starting; exec "$0" one_shot.py', sys.executable)
    async with opened(kind, emit) as target:
        await target.invoke(call())
    (lines,) = emit.of(ChildProcessOutput)
    assert (lines.line, lines.mapping, lines.request_id) == ("starting", None, None)


async def tail_of(target: RuntimeTarget, event: dict[str, Any], request_id: str) -> list[str]:
    response = await target.invoke(call(event, request_id)._replace(wants_log_tail=True))
    assert isinstance(response, Answered | FunctionError)
    return response.log_tail.splitlines()


async def test_the_log_tail_has_the_lines_of_its_invocation_between_lambdas_own() -> None:
    async with opened(callable_kind("sample:say_who_is_asking", memory_size_in_mb=512), Recorded()) as target:
        first = await tail_of(target, {}, "a")
        await target.invoke(call(request_id="b"))
        later = await tail_of(target, {}, "c")
    for request_id, (start, *lines, end, report) in (("a", first), ("c", later)):
        assert start == f"START RequestId: {request_id} Version: $LATEST"
        assert lines == [request_id] * 2
        assert end == f"END RequestId: {request_id}"
        assert report.startswith(f"REPORT RequestId: {request_id}\tDuration: ")
        assert "\tMemory Size: 512 MB\tMax Memory Used: " in report
    assert "\tInit Duration: " in first[-1]
    assert "Init Duration" not in later[-1]


async def test_the_first_log_tail_has_the_lines_that_a_child_wrote_before_its_first_event(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "print('importing', flush=True)\n\ndef handle(event, context):\n    print(context.aws_request_id)\n"
    )
    async with opened(callable_kind("loud:handle", directory=tmp_path), Recorded()) as target:
        first = await tail_of(target, {}, "a")
        second = await tail_of(target, {}, "b")
    assert first[1:-2] == ["importing", "a"]
    assert second[1:-2] == ["b"]


async def test_the_log_tail_has_no_lines_of_the_invocation_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.targets.runtime.output.LINES_AT_A_TIME", 1)

    class SlowlyRecorded(Recorded):
        def __call__(self, fact: Fact) -> None:
            time.sleep(0.0005)
            super().__call__(fact)

    (tmp_path / "hasty.py").write_text(
        "import os\n\ndef handle(event, context):\n    os.write(1, f'{context.aws_request_id}\\n'.encode() * 200)\n"
    )
    async with opened(callable_kind("hasty:handle", directory=tmp_path), SlowlyRecorded()) as target:
        await target.invoke(call(request_id="a"))
        tail = await tail_of(target, {}, "b")
    assert tail[1:-2] == ["b"] * 200


@pytest.mark.parametrize(
    ("handler", "event", "line"),
    [
        ("sample:fail", {}, "[ERROR] ValueError: no such user"),
        ("sample:exit_with", {"status": 1}, "last words"),
        ("sample:sleep", {"seconds": 60}, "grandchild"),
        ("sample:missing", {}, "[ERROR] Runtime.HandlerNotFound"),
    ],
)
async def test_a_failure_has_a_log_tail_too(handler: str, event: dict[str, Any], line: str) -> None:
    async with opened(callable_kind(handler), Recorded(), timeout_in_seconds=5) as target:
        tail = await tail_of(target, event, "6f1d")
    assert tail[1].startswith(line)
    assert tail[-2] == "END RequestId: 6f1d"


async def test_an_invocation_that_asks_for_no_log_tail_has_none() -> None:
    async with opened(callable_kind("sample:say_who_is_asking"), Recorded()) as target:
        assert await target.invoke(call()) == Answered(b"null")


async def test_a_handler_sees_what_a_client_of_the_invoke_api_sent() -> None:
    async with opened(callable_kind("sample:whoami"), Recorded()) as target:
        full, bare = [answer(await target.invoke(one)) for one in (full_call(), bare_call())]
    assert (full["invoked_function_arn"], full["trace"], full["custom"]) == (ALIAS, TRACE, {"user": "Zoë"})
    assert (bare["invoked_function_arn"], bare["custom"]) == (str(ARN), None)


@pytest.mark.parametrize("text", ["", "line"])
async def test_a_child_that_writes_without_end_is_limited_and_delays_no_other(text: str) -> None:
    emit = Recorded()
    async with (
        opened(command_kind("/bin/sh", "-c", f"yes {text!r}"), emit) as target,
        opened(callable_kind("sample:count"), Recorded()) as neighbour,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(target.invoke, call())
        assert (await emit.first(ChildProcessOutputLeftOut)).lines > 0
        assert answer(await neighbour.invoke(call()))["invocations"] == 1
        tasks.cancel_scope.cancel()
    assert {one.line for one in emit.of(ChildProcessOutput)} <= {text} - {""}


# Who may speak to a child's Runtime API


async def test_another_process_cannot_take_the_event_of_a_child_that_is_still_starting() -> None:
    emit = Recorded()
    kind = command_kind("/bin/sh", "-c", 'echo "$AWS_LAMBDA_RUNTIME_API"; exec sleep 600')
    async with (
        opened(kind, emit) as target,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(target.invoke, call({"body": "secret"}))
        output = await emit.first(ChildProcessOutput)
        host, port = output.line.split(":")
        async with await anyio.connect_tcp(host, int(port)) as stranger:
            assert (await stranger.receive()).startswith(b"HTTP/1.1 403 ")
        tasks.cancel_scope.cancel()
    (rejected,) = emit.of(RuntimeApiConnectionRejected)
    assert (rejected.child_pid, rejected.reason) == (output.pid, "another_process")


async def test_a_process_that_the_child_starts_may_be_the_runtime_client() -> None:
    """This is so with `npx`, or with `curl` in a runtime that is a shell script."""
    emit = Recorded()
    kind = command_kind("/bin/sh", "-c", '"$0" one_shot.py; true', sys.executable)
    async with opened(kind, emit) as target:
        assert answer(await target.invoke(call())) == "done"
    assert emit.of(RuntimeApiConnectionRejected) == []


# A function that runs too long


async def test_a_timeout_kills_the_child_and_all_that_it_started() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:sleep"), emit, timeout_in_seconds=30) as target:
        responses: list[Response] = []

        async def invoke() -> None:
            responses.append(await target.invoke(call({"seconds": 60})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(invoke)
            left_behind = await grandchild(emit)
            jump(30)
        assert error(responses[0]) == (
            "Sandbox.Timedout",
            "RequestId: 6f1d Error: Task timed out after 30.00 seconds",
        )
        assert left_behind.ends()
        stopped = await emit.first(ChildProcessStopped)
        assert (stopped.reason, stopped.exit_status) == ("timeout", -signal.SIGKILL)
        assert answer(await target.invoke(call({"seconds": 0}))) is None
    assert len(emit.of(ChildProcessStarted)) == 2


async def test_a_child_that_timed_out_has_ended_before_the_next_one_starts() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:sleep"), emit, timeout_in_seconds=0.2) as target:
        for n in range(2):
            await target.invoke(call({"seconds": 60}, request_id=str(n)))
    kinds = [type(fact) for fact in emit.facts if isinstance(fact, ChildProcessStarted | ChildProcessStopped)]
    assert kinds == [ChildProcessStarted, ChildProcessStopped, ChildProcessStarted, ChildProcessStopped]


# A function with a limit of memory


@pytest.fixture
def _often_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.target.MEMORY_CHECK_IN_SECONDS", 0.05)


@pytest.mark.usefixtures("_often_measured")
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parity("memory limit")
async def test_a_child_that_uses_more_memory_than_it_may_is_killed(elsewhere: bool) -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:hoard", memory_size_in_mb=128), emit) as target:
        response = await target.invoke(call({"megabytes": 150, "elsewhere": elsewhere}))
        assert error(response) == (
            "Runtime.OutOfMemory",
            "RequestId: 6f1d Error: Runtime was killed, because it used more than 128 MB of memory",
        )
        assert answer(await target.invoke(call({"megabytes": 1, "seconds": 0}))) == 2**20
    assert [(one.reason, one.exit_status) for one in emit.of(ChildProcessStopped)] == [
        ("out_of_memory", -signal.SIGKILL),
        ("shutdown", 128 + signal.SIGTERM),
    ]


@pytest.mark.usefixtures("_often_measured")
async def test_memory_that_a_child_shares_with_its_forks_counts_once() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:hoard", memory_size_in_mb=128), emit) as target:
        assert answer(await target.invoke(call({"megabytes": 60, "forks": 3, "seconds": 0.5}))) == 60 * 2**20


# A child that ends


@pytest.mark.parametrize(
    ("status", "reason"),
    [(0, "Runtime exited without providing a reason"), (127, "Runtime exited with error: exit status 127")],
)
async def test_an_exit_before_the_answer_is_a_function_error(status: int, reason: str) -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:exit_with"), emit) as target:
        response = await target.invoke(call({"status": status}))
    assert error(response) == ("Runtime.ExitError", f"RequestId: 6f1d Error: {reason}")
    (stopped,) = emit.of(ChildProcessStopped)
    assert (stopped.reason, stopped.exit_status) == ("exit", status)
    assert [one.line for one in emit.of(ChildProcessOutput)] == ["last words"]


@pytest.mark.parametrize(("name", "description"), [("SIGKILL", "killed"), ("SIGSEGV", "segmentation fault")])
async def test_a_signal_before_the_answer_is_a_function_error(name: str, description: str) -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:kill_self"), emit) as target:
        response = await target.invoke(call({"signal": name}))
        assert error(response)[1] == f"RequestId: 6f1d Error: Runtime exited with error: signal: {description}"
        assert isinstance(await target.invoke(call({"signal": name})), FunctionError)
    assert len(emit.of(ChildProcessStarted)) == 2


async def test_processes_that_an_exited_child_leaves_behind_are_killed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.child.LAST_OUTPUT_IN_SECONDS", 600.0)
    emit = Recorded()
    async with opened(callable_kind("sample:exit_leaving_another"), emit) as target:
        assert error(await target.invoke(call()))[0] == "Runtime.ExitError"
        assert (await grandchild(emit)).ends()


async def test_a_child_that_died_while_it_was_idle_is_replaced() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit) as target:
        pid = answer(await target.invoke(call()))["pid"]
        os.kill(pid, signal.SIGKILL)
        await emit.first(ChildProcessStopped)
        assert answer(await target.invoke(call()))["invocations"] == 1
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["exit", "shutdown"]


async def test_a_child_that_ends_after_its_answer_is_replaced_without_a_failure() -> None:
    emit = Recorded()
    async with opened(command_kind(sys.executable, "one_shot.py"), emit) as target:
        for n in range(3):
            assert answer(await target.invoke(call(request_id=str(n)))) == "done"
    assert len(emit.of(ChildProcessStarted)) == 3


async def test_a_child_that_never_asks_for_another_event_is_killed_and_replaced_without_a_failure() -> None:
    emit = Recorded()
    kind = command_kind(sys.executable, "one_shot.py", "and stay")
    async with opened(kind, emit, timeout_in_seconds=30, init_in_seconds=30) as target:
        assert answer(await target.invoke(call(request_id="0"))) == "done"
        async with anyio.create_task_group() as tasks:
            responses: list[Response] = []

            async def invoke() -> None:
                responses.append(await target.invoke(call(request_id="1")))

            tasks.start_soon(invoke)
            await anyio.wait_all_tasks_blocked()  # until the child has been offered what it never asks for
            jump(30)
        assert answer(responses[0]) == "done"
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["timeout", "shutdown"]


# A process that a child leaves behind in a session of its own, with the child's output and Runtime API open

BOTH_LOOPS = pytest.mark.parametrize(
    "anyio_backend", [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"]
)


@asynccontextmanager
async def leaving_a_daemon(
    emit: Recorded, *, idle_in_seconds: float = 300.0, **payload: bool
) -> AsyncIterator[RuntimeTarget]:
    pid = 0
    try:
        kind = callable_kind("sample:leave_a_daemon")
        async with opened(kind, emit, idle_in_seconds=idle_in_seconds) as target:
            await target.invoke(call(payload))
            pid = int((await emit.first(ChildProcessOutput)).line.split()[1])
            yield target
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)


@BOTH_LOOPS
async def test_the_stop_does_not_wait_for_a_process_that_a_child_left_behind() -> None:
    emit = Recorded()
    async with leaving_a_daemon(emit):
        pass  # `opened` limits the time
    assert [one.reason for one in emit.of(ChildProcessStopped)] == ["shutdown"]


@BOTH_LOOPS
async def test_an_idle_child_ends_even_if_it_left_a_process_behind() -> None:
    emit = Recorded()
    async with leaving_a_daemon(emit, idle_in_seconds=0.05):
        assert (await emit.first(ChildProcessStopped)).reason == "idle"


@BOTH_LOOPS
async def test_an_exit_is_noticed_even_if_the_child_left_a_process_behind() -> None:
    emit = Recorded()
    async with leaving_a_daemon(emit, exit=True):
        stopped = await emit.first(ChildProcessStopped)
        assert (stopped.reason, stopped.exit_status) == ("exit", 3)


# A child that never gets so far


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("no-such-program",), "cannot start no-such-program: not found on PATH"),
        (("./no-such-file",), "cannot start ./no-such-file: no such file"),
        (("./sample.py",), "cannot start ./sample.py: not executable"),
    ],
)
async def test_a_program_that_cannot_be_started_is_unreachable(command: tuple[str, ...], reason: str) -> None:
    emit = Recorded()
    async with opened(command_kind(*command), emit) as target:
        assert await target.invoke(call()) == Unreachable(reason=reason)
    assert emit.facts == []


async def test_a_child_does_not_start_in_a_missing_folder(tmp_path: Path) -> None:
    kind = command_kind("/bin/sh", directory=tmp_path / "gone")
    async with opened(kind, Recorded()) as target:
        response = await target.invoke(call())
    assert response == Unreachable(reason="cannot start /bin/sh: No such file or directory")


async def test_an_exit_before_the_first_invocation_fails_it() -> None:
    emit = Recorded()
    async with opened(command_kind("/bin/sh", "-c", "echo oh no >&2; exit 4"), emit) as target:
        response = await target.invoke(call())
    assert error(response) == (
        "Runtime.ExitError",
        "RequestId: 6f1d Error: Runtime exited with error: exit status 4",
    )
    (stopped,) = emit.of(ChildProcessStopped)
    assert (stopped.reason, stopped.exit_status) == ("init_error", 4)
    assert [one.line for one in emit.of(ChildProcessOutput)] == ["oh no"]


async def test_an_init_error_fails_the_invocation_and_the_next_one_gets_a_new_child() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:nothing_of_that_name"), emit) as target:
        for n in range(2):
            assert error(await target.invoke(call(request_id=str(n)))) == (
                "Runtime.HandlerNotFound",
                "Handler 'nothing_of_that_name' missing on module 'sample'",
            )
    assert len(emit.of(ChildProcessStarted)) == 2
    assert [(one.reason, one.exit_status) for one in emit.of(ChildProcessStopped)] == [("init_error", 1)] * 2


@pytest.mark.parametrize(
    ("kind", "init_in_seconds", "is_init_failure"),
    [
        (command_kind("/bin/sh", "-c", "exit 4"), 60, True),
        (callable_kind("sample:nothing_of_that_name"), 60, True),
        (callable_kind("slow_import:handler"), 0.3, True),
        (callable_kind("sample:fail"), 60, False),
    ],
    ids=["exits", "posts an init error", "outlasts the init", "fails in the handler"],
)
async def test_a_failed_init_differs_from_a_failed_handler(
    kind: ChildProcess, init_in_seconds: float, is_init_failure: bool
) -> None:
    async with opened(kind, Recorded(), timeout_in_seconds=init_in_seconds, init_in_seconds=init_in_seconds) as target:
        response = await target.invoke(call())
    assert isinstance(response, FunctionError)
    assert response.is_init_failure is is_init_failure


async def test_after_a_child_fails_to_start_the_next_one_waits() -> None:
    async with opened(command_kind("/bin/false"), Recorded()) as target:
        began = anyio.current_time()
        for _ in range(4):
            await target.invoke(call())
        assert anyio.current_time() - began >= 0.05 + 0.1 + 0.2


async def test_a_successful_init_resets_the_pause_of_failed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures_in_a_row: list[int] = []

    class Noting:
        """A fake of Backoff, without pauses."""

        def delay(self, failures: int, _: random.Random) -> float:
            failures_in_a_row.append(failures)
            return 0.0

    monkeypatch.setattr("poller.targets.runtime.target.START", Noting())
    starts = tmp_path / "starts"
    third_is_good = f'echo >> {starts}; [ $(wc -l < {starts}) = 3 ] && exec "$0" one_shot.py; exit 1'
    async with opened(command_kind("/bin/sh", "-c", third_is_good, sys.executable), Recorded()) as target:
        responses = [await target.invoke(call(request_id=str(number))) for number in range(5)]
    assert [type(response) for response in responses] == [FunctionError, FunctionError, Answered, *[FunctionError] * 2]
    assert failures_in_a_row == [1, 2, 1, 2]


async def test_an_init_that_takes_too_long_is_killed() -> None:
    emit = Recorded()
    kind = callable_kind("slow_import:handler")
    async with opened(kind, emit, timeout_in_seconds=0.1, init_in_seconds=0.3) as target:
        assert error(await target.invoke(call())) == (
            "Sandbox.Timedout",
            "RequestId: 6f1d Error: Init timed out after 0.30 seconds, before the runtime asked for an invocation",
        )
    (stopped,) = emit.of(ChildProcessStopped)
    assert (stopped.reason, stopped.exit_status) == ("timeout", -signal.SIGKILL)


async def test_the_init_may_take_as_long_as_the_functions_timeout() -> None:
    kind = callable_kind("slow_import:handler")
    async with opened(kind, Recorded(), timeout_in_seconds=0.4, init_in_seconds=0.1) as target:
        assert "Init timed out after 0.40 seconds" in error(await target.invoke(call()))[1]


# The end


async def test_leaving_stops_every_child() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:count"), emit) as target:
        watched = Watched(answer(await target.invoke(call()))["pid"])
    assert watched.ends()
    assert [(one.reason, one.exit_status) for one in emit.of(ChildProcessStopped)] == [
        ("shutdown", 128 + signal.SIGTERM)
    ]


async def test_an_error_of_the_block_is_raised_unchanged_and_stops_every_child() -> None:
    """In a group of errors, the command line would not recognise a settings error."""
    emit = Recorded()

    async def fail() -> None:
        async with opened(callable_kind("sample:count"), emit) as target:
            await target.invoke(call())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert [stopped.reason for stopped in emit.of(ChildProcessStopped)] == ["shutdown"]


async def test_a_child_that_ignores_the_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.targets.runtime.child.GRACE_IN_SECONDS", 0.1)
    emit = Recorded()
    async with opened(callable_kind("stubborn:handler"), emit) as target:
        await target.invoke(call())
    assert [(one.reason, one.exit_status) for one in emit.of(ChildProcessStopped)] == [("shutdown", -signal.SIGKILL)]


async def test_a_cancelled_invocation_ends_its_child() -> None:
    emit = Recorded()
    async with opened(callable_kind("sample:sleep"), emit) as target:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(target.invoke, call({"seconds": 60}))
            left_behind = await grandchild(emit)
            tasks.cancel_scope.cancel()
        assert left_behind.ends()
        assert answer(await target.invoke(call({"seconds": 0}))) is None


HOST = """
import os
import sys
import anyio
from poller.targets.runtime import RuntimeTarget
from tests.fakes.functions import callable_kind, function, invocation

async def main():
    target = RuntimeTarget(
        function(callable_kind(sys.argv[2]), timeout_in_seconds=60),
        emit=lambda fact: print(fact, flush=True), region="eu-west-1", endpoint_url=None,
        inherited=os.environ,
    )
    async with target:
        await target.invoke(invocation(b'{"seconds": 60}'))

anyio.run(main, backend_options={"use_uvloop": sys.argv[1] == "uvloop"})
"""


@contextmanager
def host(loop: str, handler: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start a process that invokes the handler once and then stops. It prints its facts, one in a line."""
    command = [sys.executable, "-c", HOST, loop, handler]
    here = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=here) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_when_the_daemon_is_killed_its_children_and_theirs_die(loop: str) -> None:
    with host(loop, "sample:sleep") as (process, facts):
        child = Watched(int(facts.readline().partition("pid=")[2].rstrip(")\n")))
        left_behind = Watched(int(facts.readline().partition("grandchild ")[2].partition("'")[0]))
        process.kill()
        assert child.ends()
        assert left_behind.ends()


def test_when_the_daemon_is_killed_while_it_stops_its_children_die() -> None:
    with host("asyncio", "stubborn:handler") as (process, facts):
        child = Watched(int(facts.readline().partition("pid=")[2].rstrip(")\n")))
        assert "not yet" in facts.readline()
        process.kill()
        assert child.ends()
