"""Which property tests does coverage watch? None of them.

A watched test takes more than twice as long, and the unit tests run the same lines.
"""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("no_cover")
