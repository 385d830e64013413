"""Which surroundings does every test of the daemon start with?"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e import harness

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell's background commands ignore it, and so do their children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    """AWS over HTTP uses asyncio's servers."""
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> AsyncIterator[harness.World]:
    async with harness.world(tmp_path) as world:
        yield world
