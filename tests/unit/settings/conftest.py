from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poller.errors import SettingsError
from poller.settings.loading import load
from poller.settings.values import Settings

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:buffer-queue"
FIFO = "arn:aws:sqs:eu-west-1:123456789012:receipts.fifo"
KINESIS = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
DYNAMODB = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-01T00:00:00.000"


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Settings]:
    """Return a function that loads a text as the file `poller.toml`; its keywords are the environment."""

    def load_text(text: str, **environ: str) -> Settings:
        file = tmp_path / "poller.toml"
        file.write_text(text)
        return load(file, environ)

    return load_text


@pytest.fixture
def faults(loaded: Callable[..., Settings]) -> Callable[..., list[str]]:
    """Return a function that loads a text in the same way, and returns its faults."""

    def faults_of(text: str, **environ: str) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            loaded(text, **environ)
        return caught.value.faults

    return faults_of


@pytest.fixture
def mapping_faults(faults: Callable[..., list[str]]) -> Callable[[str, str], list[str]]:
    """Return a function that returns the faults of one mapping `m`, without its name. Its function is valid."""
    sources = {"queue": QUEUE, "fifo": FIFO, "kinesis": KINESIS, "dynamodb": DYNAMODB}

    def faults_of(source: str, options: str) -> list[str]:
        text = f"""
            [functions.f]
            url = "http://127.0.0.1:8080"
            [mappings.m]
            event_source_arn = "{sources[source]}"
            function_name = "f"
            {options}
        """
        return [fault.removeprefix("mappings.m.") for fault in faults(text)]

    return faults_of
