"""Is a new test quick, can a quick test start no process, is a long one named, and does it try few inputs?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import settings

NOTHING = [sys.executable, "-c", ""]
ROOT = Path(__file__).parents[2]


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(NOTHING, check=True),
        lambda: os.posix_spawn(sys.executable, NOTHING, {}),
        lambda: os.system("true"),
        _fork,
    ],
    ids=["subprocess", "posix_spawn", "system", "fork"],
)
def test_a_quick_test_that_starts_a_process_fails(start: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="a quick test starts a process"):
        start()


def test_a_test_is_quick_by_default(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("quick")


def test_only_a_run_of_the_quick_tests_alone_tries_few_inputs(pytestconfig: pytest.Config) -> None:
    assert (settings().max_examples < 100) == (pytestconfig.option.markexpr == "quick")


@pytest.mark.slow
def test_a_slow_test_is_not_quick_and_may_start_a_process(request: pytest.FixtureRequest) -> None:
    assert not request.node.get_closest_marker("quick")
    subprocess.run(NOTHING, check=True)


@pytest.mark.slow
@pytest.mark.parametrize(("tests", "is_named"), [("quick", True), ("not slow", False)])
def test_a_run_of_the_quick_tests_names_those_that_took_long(tmp_path: Path, tests: str, is_named: bool) -> None:
    (tmp_path / "test_waiting.py").write_text(
        "import time\ndef test_long(): time.sleep(1.6)\ndef test_short(): time.sleep(0.1)\n"
    )
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "tests.quick", "-m", tests, str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True)
    assert ("1.6 s" in run.stdout and "test_waiting.py::test_long" in run.stdout) == is_named
    assert "test_short" not in run.stdout


@pytest.mark.anyio
async def test_a_test_waits_until_all_tasks_wait() -> None:
    steps = 0

    async def work() -> None:
        nonlocal steps
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
            steps += 1
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        assert steps == 100
        tasks.cancel_scope.cancel()
