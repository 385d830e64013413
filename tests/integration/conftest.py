"""Every integration test runs an emulator or a function's process."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("slow")
