"""Which emulators do the integration and contract tests run against? ministack first, moto as a second opinion.

Each is a process of its own for the whole test session; with `pytest -n 2` each of the two test processes has one. This
process opens the listening socket and passes it on, so there is no race for a port and no wait for the start: an early
connection waits in the backlog until the emulator accepts it, and is refused if the emulator has died.

    ministack, moto   -> the endpoint's url
    kinesis_local     -> the endpoint's url of the one that can be resharded; it runs on node
    account           -> 12 digits that no other test uses; the environment's credentials name it

ministack treats a 12-digit access key id as a separate account, so tests need no reset between them. moto has only one
account: there, each test must give its queues unique names.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.kinesis_local import kinesis_local as run_kinesis_local

pytest_plugins = ["tests.made_once", "tests.quick"]

REGION = "us-east-1"

# The gate asks the same questions each time; by hand, every run asks new ones (`--hypothesis-profile thorough`: many).
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be slow
settings.register_profile("gate", settings.get_profile("any"), derandomize=True)
settings.register_profile("quick", settings.get_profile("any"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("any"), max_examples=2_000)
settings.register_profile("by_hand", settings.get_profile("any"))
settings.load_profile("gate" if os.environ.get("CI") else "by_hand")

MOTO = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
app = DomainDispatcherApplication(create_backend_app)
make_server("127.0.0.1", int(sys.argv[2]), app, threaded=True, fd=int(sys.argv[1])).serve_forever()
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, help="how many seeds the simulation runs over (as many as each test says)")
    parser.addoption("--first-seed", type=int, default=0, help="the seed that the simulation begins with (0)")


def pytest_configure(config: pytest.Config) -> None:
    """Let a run of the quick tests alone try fewer inputs. The gate and a run of a folder try all of them."""
    if config.option.markexpr == "quick" and not config.option.hypothesis_profile:
        settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest tests begin first, so that at the end no process is left alone with one of them."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def pytest_collection_finish() -> None:
    """The thousands of collected tests stay until the end, so no garbage collection needs to look at them.

    Tests leave much garbage that needs a collection, and little memory: a collection after more allocations is cheaper.
    """
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a ministack with Python Lambdas run in its own subprocesses."""
    folder = tmp_path_factory.mktemp("ministack")
    listener = listening_socket()
    port = listener.getsockname()[1]
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "STATE_DIR": str(folder / "state"),
        "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
    }
    command = ["-m", "hypercorn", "ministack.app:app", "--bind", f"fd://{listener.fileno()}", "--keep-alive", "75"]
    with emulator(command, listener, settings, folder) as url:
        yield url


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a moto server."""
    listener = listening_socket()
    port = listener.getsockname()[1]
    command = ["-c", MOTO, str(listener.fileno()), str(port)]
    with emulator(command, listener, {}, tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture(scope="session")
def kinesis_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of a kinesis-local."""
    with listening_socket() as listener:  # closed also where there is no node, and the tests are skipped
        host, port = listener.getsockname()
        with run_kinesis_local(listener.fileno(), tmp_path_factory.mktemp("kinesis-local")):
            listener.close()
            yield f"http://{host}:{port}"


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Put the log of this process back after a test. A command that runs in the test's process configures it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a new account. Its credentials are in the environment, and no AWS setting of the machine is."""
    number = f"{random.SystemRandom().randrange(10**11, 10**12)}"
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": number,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return number


def listening_socket() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


@contextmanager
def emulator(command: list[str], listener: socket.socket, settings: dict[str, str], folder: Path) -> Iterator[str]:
    """Run `python command` on the listening socket; its output stays in `folder`, which pytest keeps for three runs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | settings
    with (
        (folder / "output.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, *command],
            pass_fds=[listener.fileno()],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        host, port = listener.getsockname()
        listener.close()
        try:
            yield f"http://{host}:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with its worker, and what that has started
