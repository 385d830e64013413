"""Which surroundings does every test of the daemon start with?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e import harness


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("slow")


@pytest.fixture
def anyio_backend() -> str:
    """AWS over HTTP uses asyncio's servers."""
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> AsyncIterator[harness.World]:
    async with harness.world(tmp_path) as world:
        yield world
