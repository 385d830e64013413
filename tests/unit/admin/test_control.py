"""At which socket do the commands reach a running daemon?"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from poller.admin.control import LONGEST_PATH_IN_BYTES, control_paths, listening_at, path_for_commands
from poller.errors import CannotListen, SettingsError


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    return client


def test_the_sockets_are_beside_the_settings_file_and_beside_the_state_if_it_is_a_file(tmp_path: Path) -> None:
    settings = tmp_path / "etc" / "poller.toml"
    beside_settings = tmp_path / "etc" / "poller.toml-control"
    assert control_paths(f"sqlite://{tmp_path}/poller.db", settings) == [
        tmp_path / "poller.db-control",
        beside_settings,
    ]
    assert control_paths("memory:", settings) == [beside_settings]


def test_a_symbolic_link_to_the_state_file_leads_to_the_same_socket(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "poller.db")
    assert control_paths(f"sqlite://{tmp_path}/link.db", tmp_path / "p.toml")[0] == tmp_path / "poller.db-control"


def accepts(listener: socket.socket, path: Path) -> bool:
    """Return whether a client that connects to the path reaches this listener."""
    listener.setblocking(False)
    with connected(path):
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return False
    return True


def test_a_daemon_listens_beside_its_state_file_and_beside_its_settings_file(tmp_path: Path) -> None:
    state, settings = f"sqlite://{tmp_path}/poller.db", tmp_path / "poller.toml"
    with listening_at(*control_paths(state, settings)) as listeners:
        paths = [tmp_path / "poller.db-control", tmp_path / "poller.toml-control"]
        assert [accepts(*pair) for pair in zip(listeners, paths, strict=True)] == [True, True]
    assert list(tmp_path.iterdir()) == []


def test_commands_reach_a_daemon_whose_file_names_another_state_now(tmp_path: Path) -> None:
    before, now, settings = f"sqlite://{tmp_path}/a.db", f"sqlite://{tmp_path}/b.db", tmp_path / "poller.toml"
    with listening_at(*control_paths(before, settings)), connected(path_for_commands(settings, lambda: now)):
        pass


def test_commands_reach_a_daemon_whose_file_cannot_be_read_now(tmp_path: Path) -> None:
    state, settings = f"sqlite://{tmp_path}/poller.db", tmp_path / "poller.toml"

    def no_state() -> str:
        raise SettingsError(["not TOML"])

    with listening_at(*control_paths(state, settings)):
        assert path_for_commands(settings, no_state) == tmp_path / "poller.toml-control"
    with pytest.raises(SettingsError):
        path_for_commands(settings, no_state)


def test_commands_reach_each_of_two_daemons_that_share_a_state_file(tmp_path: Path) -> None:
    state, a, b = f"sqlite://{tmp_path}/poller.db", tmp_path / "a.toml", tmp_path / "b.toml"
    with listening_at(*control_paths(state, a)) as of_a, listening_at(*control_paths(state, b)) as of_b:
        assert (len(of_a), len(of_b)) == (2, 1)
        assert accepts(of_a[1], path_for_commands(a, lambda: state))
        assert accepts(of_b[0], path_for_commands(b, lambda: state))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_missing", ["state", "settings"])
def test_a_daemon_listens_in_one_folder_if_it_cannot_do_so_in_the_other(is_missing: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / ("none" if name == is_missing else ".") for name in ("state", "settings")}
    state, settings = f"sqlite://{folders['state']}/poller.db", folders["settings"] / "poller.toml"
    with listening_at(*control_paths(state, settings)) as listeners:
        (listener,) = listeners
        assert accepts(listener, path_for_commands(settings, lambda: state))


def test_a_daemon_that_can_listen_nowhere_says_why(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    why = r"a: exists already, and is not a socket; the control socket .*none/b: No such file or directory"
    with pytest.raises(CannotListen, match=why), listening_at(tmp_path / "a", tmp_path / "none" / "b"):
        raise AssertionError("it cannot have been bound")


def test_a_killed_daemons_socket_beside_its_settings_does_not_hide_its_socket_beside_the_state(tmp_path: Path) -> None:
    state, settings = f"sqlite://{tmp_path}/poller.db", tmp_path / "poller.toml"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(tmp_path / "poller.toml-control"))
    with listening_at(control_paths(state, settings)[0]):
        assert path_for_commands(settings, lambda: state) == tmp_path / "poller.db-control"


def test_a_path_beside_the_settings_that_is_too_long_for_a_socket_does_not_hide_the_other_socket(
    tmp_path: Path,
) -> None:
    state, settings = f"sqlite://{tmp_path}/poller.db", tmp_path / ("x" * LONGEST_PATH_IN_BYTES)
    assert path_for_commands(settings, lambda: state) == tmp_path / "poller.db-control"


def test_only_our_own_user_may_connect_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "control"
    before = os.umask(0)
    try:
        with listening_at(path), connected(path):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
            assert [one.name for one in tmp_path.iterdir()] == ["control"]
    finally:
        os.umask(before)


def test_no_other_user_can_connect_before_the_mode_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between bind and chmod the socket lies in a directory that only its owner can enter."""
    modes: list[int] = []
    chmod = Path.chmod

    def seen(self: Path, mode: int) -> None:
        modes.append(stat.S_IMODE(self.parent.stat().st_mode))
        chmod(self, mode)

    monkeypatch.setattr(Path, "chmod", seen)
    with listening_at(tmp_path / "control"):
        assert modes == [0o700]


def test_the_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    with listening_at(tmp_path / "control"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_socket_without_a_listening_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(path))
    with listening_at(path), connected(path):
        pass


def another_daemon(path: Path) -> AbstractContextManager[Sequence[socket.socket]]:
    return listening_at(path)


def test_a_socket_with_a_listening_process_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with another_daemon(path) as (first,):
        with pytest.raises(CannotListen, match="another daemon listens there"), listening_at(path):
            raise AssertionError("it cannot have been bound")
        with connected(path):
            first.accept()[0].close()
    assert not path.exists()


def test_a_socket_with_a_full_queue_of_clients_counts_as_in_use(tmp_path: Path) -> None:
    path, waiting = tmp_path / "control", []
    with another_daemon(path):
        for _ in range(10_000):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        with pytest.raises(CannotListen, match="another daemon"), listening_at(path):
            raise AssertionError("it cannot have been bound")
    for client in waiting:
        client.close()


def test_a_regular_file_with_the_sockets_name_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control"
    path.write_text("mine")
    with pytest.raises(CannotListen, match="is not a socket"), listening_at(path):
        raise AssertionError("it cannot have been bound")
    assert path.read_text() == "mine"


def test_the_end_of_a_daemon_does_not_remove_the_socket_of_another_one(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with listening_at(path):
        path.unlink()
        with another_daemon(path):
            pass
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_for_a_socket_is_reported(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (LONGEST_PATH_IN_BYTES - len(os.fsencode(tmp_path)) - 1))
    with listening_at(longest), connected(longest):
        pass
    with (
        pytest.raises(CannotListen, match=f"has {LONGEST_PATH_IN_BYTES + 1} bytes; the path of a socket has at most"),
        listening_at(Path(f"{longest}x")),
    ):
        raise AssertionError("it cannot have been bound")


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="No such file or directory"), listening_at(tmp_path / "none" / "control"):
        raise AssertionError("it cannot have been bound")


@pytest.mark.parametrize("is_left_behind", [False, True], ids=["no socket", "the socket of a killed daemon"])
@pytest.mark.slow
def test_only_one_of_the_daemons_that_start_at_the_same_time_listens(is_left_behind: bool, tmp_path: Path) -> None:
    path, starts, at_once = tmp_path / "control", 20, 4
    all_daemons = Barrier(at_once, timeout=60)

    def listen(daemon: int) -> list[bool]:
        listened = []
        for _ in range(starts):
            if daemon == 0 and is_left_behind:
                with socket.socket(socket.AF_UNIX) as dead:
                    dead.bind(str(path))
            with ExitStack() as stack:
                all_daemons.wait()
                try:
                    stack.enter_context(listening_at(path))
                except CannotListen:
                    listened.append(False)
                else:
                    listened.append(True)
                all_daemons.wait()
            all_daemons.wait()
        return listened

    with ThreadPoolExecutor(at_once) as daemons:
        listened = [*daemons.map(listen, range(at_once))]
    assert [sum(each) for each in zip(*listened, strict=True)] == [1] * starts


def test_a_daemon_does_not_wait_forever_for_the_lock_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("poller.admin.control.LONGEST_WAIT_IN_SECONDS", 0.05)
    path, directory = tmp_path / "control", os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        with pytest.raises(CannotListen, match="another process holds the lock"), listening_at(path):
            raise AssertionError("it cannot have been bound")
    finally:
        os.close(directory)
    with listening_at(path):
        assert path.is_socket()
