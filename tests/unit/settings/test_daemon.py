"""Which options may [daemon] have, and what are their defaults?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poller.settings.values import Daemon, Settings, TablesAt

Load = Callable[..., Settings]
Faults = Callable[..., list[str]]


def test_every_option_of_the_daemon_has_a_default(loaded: Load, tmp_path: Path) -> None:
    assert loaded("").daemon == Daemon(
        region=None,
        account_id=None,
        endpoint_url=None,
        endpoints={},
        state=f"sqlite://{tmp_path}/poller.db",
        tables_at=TablesAt(None, None, {}),
        event_queue=f"sqlite://{tmp_path}/poller-events.db",
        event_queue_maximum_bytes=1073741824,
        http_listen=None,
        http_hosts=(),
        admin_token=None,
        api_listen=None,
        api_keys={},
        shutdown_grace_in_seconds=30,
        log_format="json",
    )


def test_every_option_of_the_daemon_is_read(loaded: Load) -> None:
    text = """
        [daemon]
        region = "eu-west-1"
        account_id = "012345678901"
        endpoint_url = "http://127.0.0.1:4566"
        endpoints = { sqs = "http://127.0.0.1:9324", lambda = "https://lambda.example.com/path" }
        state = "memory:"
        event_queue = "sqlite:///var/lib/events.db"
        event_queue_maximum_bytes = 16777216
        http_listen = "127.0.0.1:9464"
        http_hosts = ["poller.internal", "Poller"]
        admin_token = "dG9r-._~+/ZW4="
        api_listen = "0.0.0.0:9465"
        api_keys = { AKID = "s3cr+t/", OTHER = "2" }
        shutdown_grace_in_seconds = 2.5
        log_format = "console"
    """
    assert loaded(text).daemon == Daemon(
        region="eu-west-1",
        account_id="012345678901",
        endpoint_url="http://127.0.0.1:4566",
        endpoints={"sqs": "http://127.0.0.1:9324", "lambda": "https://lambda.example.com/path"},
        state="memory:",
        tables_at=TablesAt(
            "eu-west-1",
            "http://127.0.0.1:4566",
            {"sqs": "http://127.0.0.1:9324", "lambda": "https://lambda.example.com/path"},
        ),
        event_queue="sqlite:///var/lib/events.db",
        event_queue_maximum_bytes=16777216,
        http_listen=("127.0.0.1", 9464),
        http_hosts=("poller.internal", "poller"),
        admin_token="dG9r-._~+/ZW4=",
        api_listen=("0.0.0.0", 9465),
        api_keys={"AKID": "s3cr+t/", "OTHER": "2"},
        shutdown_grace_in_seconds=2.5,
        log_format="console",
    )


@pytest.mark.parametrize(
    ("written", "environ", "state"),
    [
        ('state = "sqlite:///var/lib/p.db"', {}, "sqlite:///var/lib/p.db"),
        ('state = "sqlite://p.db"', {}, "sqlite://{here}/p.db"),
        ('state = "dynamodb://leases?region=eu-west-1"', {}, "dynamodb://leases?region=eu-west-1"),
        ('state = "sqlite://p.db"', {"STATE_DIRECTORY": "/var/lib/poller"}, "sqlite://{here}/p.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/poller"}, "sqlite:///var/lib/poller/poller.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}, "sqlite:///var/lib/one/poller.db"),
        ("", {"STATE_DIRECTORY": ""}, "sqlite://{here}/poller.db"),
    ],
)
def test_the_path_of_the_state_is_absolute(
    loaded: Load, tmp_path: Path, written: str, environ: dict[str, str], state: str
) -> None:
    assert loaded(f"[daemon]\n{written}", **environ).daemon.state == state.format(here=tmp_path)


@pytest.mark.parametrize(
    ("written", "environ", "event_queue"),
    [
        ("", {}, "sqlite://{here}/poller-events.db"),
        ("", {"STATE_DIRECTORY": "/var/lib/poller"}, "sqlite:///var/lib/poller/poller-events.db"),
        ('state = "sqlite:///var/lib/orders.state"', {}, "sqlite:///var/lib/orders-events.state"),
        ('state = "memory:"', {}, None),
        ('state = "dynamodb://leases"', {}, "sqlite://{here}/poller-events.db"),
        (
            'state = "dynamodb://leases"',
            {"STATE_DIRECTORY": "/var/lib/poller"},
            "sqlite:///var/lib/poller/poller-events.db",
        ),
        ('state = "memory:"\nevent_queue = "sqlite://e.db"', {"STATE_DIRECTORY": "/var"}, "sqlite://{here}/e.db"),
        ('event_queue = "sqlite:///e.db"', {}, "sqlite:///e.db"),
    ],
)
def test_the_event_queue_is_beside_the_state_unless_the_file_names_another(
    loaded: Load, tmp_path: Path, written: str, environ: dict[str, str], event_queue: str | None
) -> None:
    expected = None if event_queue is None else event_queue.format(here=tmp_path)
    assert loaded(f"[daemon]\n{written}", **environ).daemon.event_queue == expected


@pytest.mark.parametrize("label", ["a", "a" * 100, "blue-1.example:8080_[x]~!"])
def test_a_worker_has_the_label_that_the_file_gives_it(loaded: Load, label: str) -> None:
    assert loaded(f'[daemon]\nworker = "{label}"').daemon.worker == label
    assert loaded("").daemon.worker is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_the_api_needs_no_keys_on_a_loopback_address(loaded: Load, host: str) -> None:
    assert loaded(f'[daemon]\napi_listen = "{host}:9465"').daemon.api_keys == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1", "poller.internal", "127.0.0.1.example.com"])
def test_the_api_needs_keys_beyond_loopback(faults: Faults, loaded: Load, host: str) -> None:
    server = f'[daemon]\napi_listen = "{host}:9465"'
    assert faults(server) == ["daemon.api_keys: is required, because api_listen is not a loopback address"]
    assert loaded(f'{server}\napi_keys.A = "${{KEY}}"', KEY="k").daemon.api_keys == {"A": "k"}


@pytest.mark.parametrize(
    "keys", ['{ "s3cr/t" = "AKID" }', '{ AKID = "s3cr t" }', '{ AKID = "${KEY}" }', '{ AKID = "" }']
)
def test_a_faulty_api_key_is_not_shown(faults: Faults, keys: str) -> None:
    (fault,) = faults(f'[daemon]\napi_listen = "0.0.0.0:9465"\napi_keys = {keys}', KEY="s3cr t")
    assert fault.startswith("daemon.api_keys: a")
    assert "s3cr" not in fault


def test_the_api_keys_are_not_in_the_text_of_the_settings(loaded: Load) -> None:
    daemon = loaded('[daemon]\napi_listen = "h:80"\napi_keys.AKID = "s3cret"').daemon
    assert daemon.api_keys == {"AKID": "s3cret"}
    assert "s3cret" not in repr(daemon)


def test_two_servers_may_share_port_0_but_no_other_address(loaded: Load, faults: Faults) -> None:
    text = '[daemon]\nhttp_listen = "127.0.0.1:{port}"\napi_listen = "127.0.0.1:{port}"'
    assert loaded(text.format(port=0)).daemon.api_listen == ("127.0.0.1", 0)
    (fault,) = faults(text.format(port=9464))
    assert fault == 'daemon.api_listen = "127.0.0.1:9464": is already the address of http_listen'


@pytest.mark.parametrize(
    ("address", "parts"), [("[::1]:0", ("::1", 0)), ("0.0.0.0:65535", ("0.0.0.0", 65535)), ("h:80", ("h", 80))]
)
def test_an_address_is_a_host_and_a_port(loaded: Load, address: str, parts: tuple[str, int]) -> None:
    assert loaded(f'[daemon]\nhttp_listen = "{address}"').daemon.http_listen == parts


def test_names_of_the_api_may_be_given_without_the_page(loaded: Load) -> None:
    assert loaded('[daemon]\napi_listen = "[::1]:0"\nhttp_hosts = ["p"]').daemon.http_hosts == ("p",)


def test_the_host_names_of_a_server_with_a_faulty_address_are_not_a_second_fault(faults: Faults) -> None:
    (fault,) = faults('[daemon]\nhttp_listen = "9464"\nhttp_hosts = ["poller.internal"]')
    assert fault.startswith("daemon.http_listen")


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("http_listen = 9464", "must be an address and a port"),
        ('http_listen = "9464"', "must be an address and a port"),
        ('http_listen = ":9464"', "must be an address and a port"),
        ('http_listen = "::1:9464"', "must be an address and a port"),
        ('http_listen = "a:65536"', "must be an address and a port"),
        ('http_listen = "[1:2]:80"', "must be an address and a port"),
        ('http_listen = "[::ffff:127.0.0.1]:80"', 'must be written as an address of IPv4: "127.0.0.1:80"'),
        ('http_hosts = ["poller.internal"]', "applies only with http_listen or api_listen"),
        ('http_hosts = "poller.internal"', "must be a list"),
        ('http_hosts = ["poller.internal:9464"]', "must be a host name, without a port"),
        ('http_hosts = ["http://poller"]', "must be a host name, without a port"),
        ('http_hosts = [""]', "must be a host name, without a port"),
        ('admin_token = "t0ken"', "applies only with http_listen"),
        ('http_listen = "h:80"\nadmin_token = ""', "must be a token"),
        ('http_listen = "h:80"\nadmin_token = "to ken"', "must be a token"),
        ('http_listen = "h:80"\nadmin_token = "t=ken"', "must be a token"),
        ('http_listen = "h:80"\nadmin_token = "tök"', "must be a token"),
        ('http_listen = "h:80"\nadmin_token = 7', "must be text"),
        ('api_keys.A = "b"', "applies only with api_listen"),
        ('api_listen = "9465"\napi_keys.A = "b"', "must be an address and a port"),
        ('account_id = "12345678901"', "must be an account of twelve digits"),
        ('account_id = "12345678901a"', "must be an account of twelve digits"),
        ("account_id = 123456789012", "must be text"),
        ('event_queue = "memory:"', 'must be "sqlite:///absolute/path.db"'),
        ('event_queue = "sqlite://"', 'must be "sqlite:///absolute/path.db"'),
        ('event_queue = "sqlite://a\\u0000b.db"', "must not hold the character NUL"),
        ('state = "sqlite://a\\u0000b.db"', "must not hold the character NUL"),
        ('event_queue = "sqlite://poller.db"', "is already the file of state"),
        ("event_queue_maximum_bytes = 16777215", "must be a whole number of bytes from 16777216 to 1099511627776"),
        ('endpoint_url = "127.0.0.1:4566"', "must be a url"),
        ('endpoint_url = "ftp://a"', "must be a url"),
        ('endpoint_url = "http://"', "must be a url"),
        ('endpoint_url = "http://a:port"', "must be a url"),
        ('endpoint_url = "http://a b"', "must be a url"),
        ("endpoint_url = 'http://ho\\st/'", "must be a url"),
        ('endpoint_url = "http://a..b"', "must be a url"),
        ("endpoints = { sqs = 'http://ho\\st/' }", "must be a url"),
        ('endpoints = { sqs = "http://a..b" }', "must be a url"),
        ('endpoints = { SQS = "http://a" }', "unknown key; did you mean sqs?"),
        ('endpoints = { sqss = "http://a" }', "unknown key; did you mean sqs?"),
        ('endpoints = { sqs = "a" }', "must be a url"),
        ('worker = ""', "must have 1 to 100 printable ASCII characters"),
        ('worker = "a/b"', "without spaces and without /"),
        ('worker = "a b"', "without spaces and without /"),
        ('worker = "ä"', "must have 1 to 100 printable ASCII characters"),
        (f'worker = "{"a" * 101}"', "must have 1 to 100 printable ASCII characters"),
        ('state = "dynamodb://t"', "the name of a table has 3 to 255"),
        ('state = "/var/lib/p.db"', 'must be "sqlite:///absolute/path.db"'),
        ('state = "sqlite://"', 'must be "sqlite:///absolute/path.db"'),
        ('region = ""', "must not be empty"),
        ('log_format = "text"', 'must be "json" or "console"'),
        ("shutdown_grace_in_seconds = -1", "must be a number of seconds from 0 to 3600"),
        ("shutdown_grace_in_seconds = nan", "must be a number of seconds from 0 to 3600"),
        ("shutdown_grace_in_seconds = true", "must be a number of seconds from 0 to 3600"),
    ],
)
def test_an_invalid_option_of_the_daemon_is_refused(faults: Faults, written: str, rule: str) -> None:
    (fault,) = faults(f"[daemon]\n{written}")
    assert fault.startswith("daemon.")
    assert rule in fault


@pytest.mark.parametrize("written", ['"s3 cret"', '["s3 cret"]', '"${TOKEN}"'])
def test_a_faulty_token_is_not_shown(faults: Faults, written: str) -> None:
    (fault,) = faults(f'[daemon]\nhttp_listen = "h:80"\nadmin_token = {written}', TOKEN="s3 cret")
    assert fault.startswith("daemon.admin_token: must be")
    assert "s3" not in fault


def test_the_token_is_not_in_the_text_of_the_settings(loaded: Load) -> None:
    daemon = loaded('[daemon]\nhttp_listen = "h:80"\nadmin_token = "s3cret"').daemon
    assert daemon.admin_token == "s3cret"
    assert "s3cret" not in repr(daemon)


def test_no_child_process_inherits_the_variable_of_the_token(loaded: Load) -> None:
    text = '[daemon]\nhttp_listen = "h:80"\nadmin_token = "${POLLER_ADMIN_TOKEN}"'
    assert loaded(text, POLLER_ADMIN_TOKEN="s3cret").withheld_variables == {"POLLER_ADMIN_TOKEN"}
