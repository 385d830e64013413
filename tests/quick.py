"""Which tests are quick, and what keeps them so?

`pytest -m quick` is for the inner loop. A test is quick unless it is marked `slow`; a folder's conftest.py may mark all
of its tests. So a new test is quick by default.

A quick test starts no process: a hook of the interpreter notices each start, and fails the test at that line, also when
all tests run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

STARTS = {"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"}
"""The interpreter's audit events of a process that starts."""

_running: list[pytest.Item] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: the test starts a process, or takes about a second or more")
    config.addinivalue_line("markers", "quick: every test that is not slow; no test is marked so by hand")
    sys.addaudithook(_fail_a_quick_test_that_starts_a_process)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not item.get_closest_marker("slow"):
            item.add_marker("quick")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _fail_a_quick_test_that_starts_a_process(event: str, arguments: tuple[object, ...]) -> None:
    if event in STARTS and _running and _running[-1].get_closest_marker("quick"):
        pytest.fail(f"a quick test starts a process ({event}); mark it `slow`, or test it without one")
