"""Is a new test quick, can a quick test start no process, and does it try few inputs? These tests check themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import settings

NOTHING = [sys.executable, "-c", ""]


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
