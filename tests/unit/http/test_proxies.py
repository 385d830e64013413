"""Which proxy does the environment name for a url? The same one that botocore uses."""

from __future__ import annotations

import os

import pytest
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from poller.http.proxies import proxy_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({}, "http://function.corp/", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, "http://function.corp/", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "https://function.corp/", None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "https://function.corp:8443/", "http://proxy:3128"),
        ({"https_proxy": "http://user:secret@proxy:3128"}, "https://f.corp/", "http://user:secret@proxy:3128"),
        ({"http_proxy": "https://proxy"}, "http://function.corp/", "https://proxy"),
        ({"HTTP_PROXY": "proxy:3128"}, "http://function.corp/", "http://proxy:3128"),
        ({"HTTP_PROXY": "//proxy:3128"}, "http://function.corp/", "http://proxy:3128"),
        ({"HTTP_PROXY": "upper", "http_proxy": "lower"}, "http://function.corp/", "http://lower"),
        ({"HTTP_PROXY": "upper", "http_proxy": ""}, "http://function.corp/", None),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "function.corp"}, "http://function.corp:9000/", None),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "function.corp:9000"}, "http://function.corp:9000/", None),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "function.corp:80"}, "http://function.corp:9000/", "http://proxy"),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "localhost, .corp"}, "http://function.corp/", None),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "*"}, "http://function.corp/", None),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "corp.example"}, "http://function.corp/", "http://proxy"),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:9000/", None),
        ({"HTTP_PROXY": "http://proxy"}, "http://localhost:9000/", "http://proxy"),
    ],
)
def test_the_environment_names_the_proxy_of_a_url(
    variables: dict[str, str], url: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(url) == expected
    assert ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url) in (expected, expected or "")


def test_no_proxy_applies_to_the_host_of_a_url_with_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    monkeypatch.setenv("NO_PROXY", "function.corp")
    assert proxy_of("http://user:secret@function.corp/") is None
