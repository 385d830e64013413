"""Is the demo's settings file valid, does it name the services at other addresses, and are its ports its own?"""

from __future__ import annotations

import socket
import sys
import tomllib

import pytest

from poller.demo.daemon import reserved_address, settings


def test_the_daemon_gets_the_address_of_its_emulator() -> None:
    daemon = tomllib.loads(settings("http://127.0.0.1:4566", "127.0.0.1:9464", "127.0.0.1:9465", {}))["daemon"]
    assert daemon["endpoint_url"] == "http://127.0.0.1:4566"
    assert daemon["http_listen"] == "127.0.0.1:9464"
    assert daemon["api_listen"] == "127.0.0.1:9465"
    assert "endpoints" not in daemon


def test_a_service_at_another_address_is_named() -> None:
    file = settings("http://127.0.0.1:4566", "127.0.0.1:9464", "127.0.0.1:9465", {"kinesis": "http://127.0.0.1:4567"})
    assert tomllib.loads(file)["daemon"]["endpoints"] == {"kinesis": "http://127.0.0.1:4567"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems would not let the daemon listen there")
def test_only_a_program_that_asks_for_a_reserved_port_by_its_number_gets_it() -> None:
    """A program that wants any port, as most tests do, gets no port that is in use without SO_REUSEADDR."""
    with reserved_address() as address, socket.socket() as other:
        host, _, port = address.partition(":")
        with pytest.raises(OSError, match="Address already in use"):
            other.bind((host, int(port)))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)))
        for _ in range(2):  # the daemon, and the next one after it has ended
            with socket.create_server((host, int(port))), socket.create_connection((host, int(port))):
                pass
