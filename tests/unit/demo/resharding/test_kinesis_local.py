"""Does a user without Node.js learn what to install, and does a failed installation leave nothing behind?"""

from __future__ import annotations

from pathlib import Path

import pytest

from poller.demo.processes import DemoError
from poller.demo.resharding.kinesis_local import cache, kinesis_local

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Yield the only folder on the PATH. The empty cache is beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def program(folder: Path, name: str, script: str = "exit 0") -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)


async def refused(folder: Path, steps: list[str]) -> str:
    with pytest.raises(DemoError) as caught:
        async with kinesis_local(folder, steps.append):
            raise AssertionError
    return str(caught.value)


async def test_without_node_the_error_says_what_to_install(programs: Path, tmp_path: Path) -> None:
    assert "`poller demo --reshard` needs node, which is not on the PATH" in await refused(tmp_path, [])


async def test_without_npm_the_error_says_what_to_install(programs: Path, tmp_path: Path) -> None:
    program(programs, "node")
    assert "`poller demo --reshard` needs npm, which is not on the PATH" in await refused(tmp_path, [])


@pytest.mark.slow
async def test_an_installation_is_announced_and_if_it_fails_the_reason_is_shown_and_nothing_is_left(
    programs: Path, tmp_path: Path
) -> None:
    program(programs, "node")
    program(programs, "npm", "echo no such registry; exit 1")
    steps: list[str] = []
    assert "no such registry" in await refused(tmp_path, steps)
    assert steps == [f"npm installs kinesis-local 0.6.2 into {cache()}/kinesis-local@0.6.2, once"]
    assert list(cache().iterdir()) == []


async def test_a_cache_that_cannot_be_written_does_not_crash(programs: Path, tmp_path: Path) -> None:
    program(programs, "node")
    program(programs, "npm")
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    assert "kinesis-local cannot be installed" in await refused(tmp_path, [])


def test_the_cache_is_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache() == Path("/home/ada/.cache/poller")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache() == Path("/caches/poller")
