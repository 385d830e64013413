from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from poller.descriptors import MOST, Limits, is_enough, needed, raise_limit
from poller.settings.loading import load

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012"


ALL = 100 + 1000 + 5 * 4 + 3
"""What the process and all functions of the tests need, also those that no mapping invokes: clients may call them."""


@pytest.fixture
def restored() -> Iterator[int]:
    """Yield the hard limit, and restore the soft limit at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_and_the_original_one_is_returned(restored: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, restored))
    wanted = min(MOST, restored)
    assert raise_limit() == Limits(256, wanted)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, restored)
    assert raise_limit() == Limits(wanted, wanted)


def test_a_limit_that_is_higher_is_left_alone(restored: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.descriptors.MOST", 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, restored))
    assert raise_limit() == Limits(256, 256)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, restored)


@pytest.mark.parametrize(("own", "wanted", "enough"), [(100, 100, True), (100, 101, False), (-1, 10**6, True)])
def test_an_unlimited_limit_is_always_enough(own: int, wanted: int, enough: bool) -> None:
    assert is_enough(Limits(50, own), wanted) is enough


@pytest.mark.parametrize(
    ("mappings", "count"),
    [
        ("", ALL),
        ('[daemon]\napi_listen = "127.0.0.1:0"', ALL + 256),
        (f'[functions.call.event_invoke_config]\nevent_queue_arn = "{QUEUE}:events"', ALL + 3),
        (f'[mappings.m]\nevent_source_arn = "{QUEUE}:q"\nfunction_name = "bill"', ALL + 1000),
        (
            f'[mappings.m]\nevent_source_arn = "{QUEUE}:q"\nfunction_name = "bill"\n'
            "scaling_config = { maximum_concurrency = 8 }",
            ALL + 8,
        ),
        (
            f'[mappings.m]\nevent_source_arn = "{QUEUE}:q"\nfunction_name = "run"\n'
            "scaling_config = { maximum_concurrency = 8 }",
            ALL + 4,
        ),
        (f'[mappings.m]\nevent_source_arn = "{QUEUE}:q"\nfunction_name = "run"\nenabled = false', ALL),
        (
            "".join(
                f'[mappings.m{n}]\nevent_source_arn = "{STREAM}/s{n}"\nfunction_name = "call"\n'
                'starting_position = "LATEST"\n'
                for n in range(600)
            ),
            MOST,
        ),
        (
            "".join(
                f'[mappings.m{n}]\nevent_source_arn = "{STREAM}/s{n}"\nfunction_name = "call"\n'
                'starting_position = "LATEST"\n'
                for n in range(2)
            ),
            ALL + 2 * 128,
        ),
    ],
)
def test_the_needed_limit_allows_everything_to_be_busy_at_once(tmp_path: Path, mappings: str, count: int) -> None:
    functions = """
        [functions.bill]
        arn = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
        [functions.run]
        command = ["true"]
        reserved_concurrency = 4
        [functions.call]
        url = "http://127.0.0.1:1"
        reserved_concurrency = 3
    """
    file = tmp_path / "poller.toml"
    file.write_text(functions + mappings)
    assert needed(load(file, {})) == count
