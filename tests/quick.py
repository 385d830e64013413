"""Which tests are quick, and what keeps them so?

`pytest -m quick` is for the inner loop. A test is quick unless it is marked `slow`, is in one of SLOW_FOLDERS, or is a
scene of the simulation. So a new test elsewhere is quick by default.

    no process        a hook of the interpreter notices each start of a process, and fails a quick test at that line,
                      also when all tests run
    no long test      `pytest -m quick` ends with the names of the tests that took long; mark them as slow
    no long waiting   on asyncio, anyio looks each 0.1 s whether all tasks wait; here it looks each millisecond
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio._backends._asyncio import AsyncIOBackend

STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
"""The interpreter's audit events of a process that starts."""

TESTS = Path(__file__).parent

SLOW_FOLDERS = [TESTS / "e2e", TESTS / "integration"]
"""Each of their tests starts a process."""

SIMULATION = TESTS / "simulation"
"""Only its random scenes (`test_*_seeds.py`) are quick, each with its first seed. It has hundreds of other scenes."""

LONG_IN_SECONDS = 1.5
"""A quick test that takes longer is named. This is much more than a fifth of a second, because machines differ."""

_running: list[pytest.Item] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: the test starts a process, or takes about a fifth of a second")
    config.addinivalue_line("markers", "quick: every test that is not slow; no test is marked so by hand")
    sys.addaudithook(_fail_a_quick_test_that_starts_a_process)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import the slow tests in a run of the quick ones."""
    return True if config.option.markexpr == "quick" and _is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        is_slow = item.get_closest_marker("slow") or _is_slow(item.path)
        item.add_marker("slow" if is_slow else "quick")


def _is_slow(path: Path) -> bool:
    """Return whether all tests of this file or folder are slow."""
    is_scene = path.parent == SIMULATION and path.match("test_*.py") and not path.match("test_*_seeds.py")
    return is_scene or any(path.is_relative_to(folder) for folder in SLOW_FOLDERS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.option.markexpr != "quick":
        return
    long = [report for report in terminalreporter.getreports("passed") if report.duration >= LONG_IN_SECONDS]
    if long:
        terminalreporter.section("quick tests that took long: is each of them to be marked as slow?")
        for report in sorted(long, key=lambda report: -report.duration):
            terminalreporter.line(f"{report.duration:.1f} s {report.nodeid}")


@pytest.fixture(scope="session", autouse=True)
def _look_often_whether_all_tasks_wait() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncIOBackend, "wait_all_tasks_blocked", _wait_until_all_tasks_wait)
        yield


async def _wait_until_all_tasks_wait() -> None:
    """Do what anyio does, but look each millisecond."""
    await asyncio.sleep(0)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    while any(task._fut_waiter is None or task._fut_waiter.done() for task in others):  # type: ignore[attr-defined]
        await asyncio.sleep(0.001)
        others = asyncio.all_tasks() - {asyncio.current_task()}


def _fail_a_quick_test_that_starts_a_process(event: str, arguments: tuple[object, ...]) -> None:
    if event in STARTS and _running and _running[-1].get_closest_marker("quick"):
        pytest.fail(f"a quick test starts a process ({event}); mark it `slow`, or test it without one")
