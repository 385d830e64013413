"""Every integration test runs an emulator or a function's process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.aws_service import read_models_once


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        read_models_once(patch)
        yield
