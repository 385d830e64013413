from __future__ import annotations

import pytest

from poller.admin.hosts import is_allowed

NAMES = ("poller.internal", "poller")


@pytest.mark.parametrize(
    "header",
    [
        "127.0.0.1",
        "127.0.0.1:9464",
        "10.0.0.7:80",
        "[::1]:9464",
        "[2001:db8::1]",
        "[fe80::1%eth0]:80",
        "localhost",
        "LocalHost:9464",
        "localhost.:9464",
        "poller.internal",
        "Poller.Internal.:9464",
        "poller:",
        " poller ",
    ],
)
def test_addresses_localhost_and_the_names_of_the_settings_are_allowed(header: str) -> None:
    assert is_allowed([header], NAMES)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xpoller.internal",
        "poller.internal.evil.example",
        "poller.internal@evil.example",
        "poller.internal:80:80",
        "poller.internal:x",
        "[evil.example]",
        "[poller.internal",
        "[::1]evil.example",
        "2130706433",
        "0x7f000001",
        "127.1",
        "..",
        "",
    ],
)
def test_any_other_name_is_not_allowed(header: str) -> None:
    assert not is_allowed([header], NAMES)


def test_a_request_without_a_host_header_is_allowed() -> None:
    assert is_allowed([], NAMES)


def test_each_of_several_headers_must_be_allowed() -> None:
    assert not is_allowed(["poller", "evil.example"], NAMES)
    assert not is_allowed(["evil.example", "poller"], NAMES)
