"""Does a loopback connection come from a process of a given session?"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from poller.targets.runtime.peer import Address, Socket, diagnosed, effective_user, listed, origin, peer_of
from tests.fakes.sessions import other_session

Search = Callable[[Address, Address], Socket | None]


@contextmanager
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def connected(
    server: socket.socket, family: socket.AddressFamily = socket.AF_INET
) -> tuple[socket.socket, socket.socket]:
    """Yield both ends of a connection: the client's end and ours."""
    host, port = server.getsockname()
    client = socket.socket(family)
    client.connect((host if family == socket.AF_INET else f"::ffff:{host}", port))
    return client, server.accept()[0]


@pytest.mark.parametrize("search", [diagnosed, listed])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_socket_is_found_by_its_addresses(search: Search, family: socket.AddressFamily) -> None:
    with listener() as server:
        others = [connected(server) for _ in range(3)]
        client, ours = connected(server, family)
        with client, ours:
            found = search(ours.getpeername(), ours.getsockname())
            assert found == Socket(inode=os.fstat(client.fileno()).st_ino, user=os.getuid())
    for pair in others:
        for end in pair:
            end.close()


def test_a_socket_that_was_closed_has_no_owner() -> None:
    with listener() as server:
        client, ours = connected(server)
        with ours:
            client.close()
            assert peer_of(ours) is None
            assert origin(ours, os.getsid(0)) == "closed"


def test_without_descriptors_the_process_of_a_socket_cannot_be_found() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with listener() as server:
        client, ours = connected(server)
        with client, ours:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ours.fileno() + 1, hard))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    origin(ours, os.getsid(0))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert origin(ours, os.getsid(0)) == "session"


CONNECT = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); sys.stdin.read()"


@contextmanager
def connection_of(script: str) -> Iterator[tuple[socket.socket, int]]:
    """Yield our end of a connection that a shell script makes, and the session of this shell.

    In the script CONNECT stands for a program that connects and waits.
    """
    with listener() as server:
        program = f'"$0" -c "$1" {server.getsockname()[1]}'
        command = ["/bin/sh", "-c", script.replace("CONNECT", program), sys.executable, CONNECT]
        with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
            ours, _ = server.accept()
            with ours:
                yield ours, process.pid


@pytest.mark.slow
@pytest.mark.parametrize(
    "script", ["exec CONNECT", "CONNECT; true", "(CONNECT; true); true", "exec 3<&0; CONNECT <&3 & wait"]
)
def test_a_process_of_the_session_is_recognised(script: str) -> None:
    with connection_of(script) as (ours, session), other_session() as other:
        assert origin(ours, session) == "session"
        assert origin(ours, other) == "another_process"


@pytest.mark.slow
def test_a_process_that_left_the_session_is_not_recognised() -> None:
    with connection_of("setsid --wait CONNECT") as (ours, session):
        assert origin(ours, session) == "another_process"


def test_a_process_that_ends_while_its_descriptors_are_read_is_no_other_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listener() as server:
        client, ours = connected(server)

        def none_is_left(session: int) -> Iterator[int]:
            client.close()
            return iter(())

        monkeypatch.setattr("poller.targets.runtime.peer._processes", none_is_left)
        with ours:
            assert origin(ours, os.getsid(0)) == "closed"


UNREADABLE = """
import ctypes, os, socket, sys
from poller.targets.runtime.peer import origin
NOBODY = 65534
server = socket.create_server(("127.0.0.1", 0))
server.settimeout(10)
ends_with_us, kept_open = os.pipe()
stranger = os.fork()
if stranger == 0:
    os.setsid()
    os.close(kept_open)
    os.read(ends_with_us, 1)
    os._exit(0)
client = os.fork()
if client == 0:
    os.close(kept_open)
    os.setsid()
    if os.getuid() == 0:
        os.setuid(NOBODY)
    connection = socket.socket()
    connection.connect(server.getsockname())
    ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: from here on only root may look at our descriptors
    connection.send(b".")
    connection.recv(1)
    os._exit(0)
ours, _ = server.accept()
ours.recv(1)
if os.getuid() == 0:
    os.setuid(NOBODY)
try:
    os.listdir(f"/proc/{client}/fd")
    print("readable")
except PermissionError:
    print(origin(ours, client), origin(ours, stranger))
"""


@pytest.mark.slow
def test_a_process_whose_descriptors_are_unreadable_is_recognised_by_its_user() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", UNREADABLE], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["session", "another_process"]


def test_the_sockets_of_a_process_belong_to_its_effective_user() -> None:
    assert effective_user("Name:\tsh\nPid:\t7\nUid:\t1000\t33\t0\t44\nGid:\t5\t5\t5\t5\n") == 33
