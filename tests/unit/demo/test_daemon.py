"""Is the demo's settings file valid, and does it name the services that have another address?"""

from __future__ import annotations

import tomllib

from poller.demo.daemon import settings


def test_the_daemon_gets_the_address_of_its_emulator() -> None:
    daemon = tomllib.loads(settings("http://127.0.0.1:4566", "127.0.0.1:9464", "127.0.0.1:9465", {}))["daemon"]
    assert daemon["endpoint_url"] == "http://127.0.0.1:4566"
    assert daemon["http_listen"] == "127.0.0.1:9464"
    assert daemon["api_listen"] == "127.0.0.1:9465"
    assert "endpoints" not in daemon


def test_a_service_at_another_address_is_named() -> None:
    file = settings("http://127.0.0.1:4566", "127.0.0.1:9464", "127.0.0.1:9465", {"kinesis": "http://127.0.0.1:4567"})
    assert tomllib.loads(file)["daemon"]["endpoints"] == {"kinesis": "http://127.0.0.1:4567"}
