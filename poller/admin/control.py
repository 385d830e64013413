"""Where do commands reach a running daemon? At Unix sockets to which only the daemon's own user can connect.

    always                                         poller.toml-control, beside the settings file
    state = "sqlite:///var/lib/poller/poller.db"   /var/lib/poller/poller.db-control, too, unless another daemon has it

A command looks beside the settings file first. It finds this socket even after the option `state` in this file has
changed, and while the file cannot be read.
The socket beside the state file is for a daemon that cannot write the folder of its settings file. Only one of the
daemons that share a state file can listen there.
A command that finds the socket of a daemon with another settings file refuses to use it (`cli/daemon.py`).
The daemon binds each socket in a directory that no other user can enter, gives it mode 0600, and then moves it to its
path. So no other user can ever connect.
A socket that a killed daemon has left is replaced. A socket at which another daemon listens is not replaced.
If several daemons start at the same time, only the first one gets the socket: each holds a lock of the directory while
it checks and replaces the socket.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from poller.errors import CannotListen

MODE = 0o600

DAEMON_PATH = "/api/daemon"
"""The page of the socket that says which settings file its daemon runs."""

LONGEST_PATH_IN_BYTES = 103
"""A socket's address has 104 bytes on BSD and macOS, and 108 on Linux (unix(7)); the last byte is zero."""


LONGEST_WAIT_IN_SECONDS = 1.0
"""How long a daemon waits for the lock. Each other daemon holds it for some milliseconds."""

PAUSE_IN_SECONDS = 0.01


def control_paths(state: str, settings_file: Path) -> Sequence[Path]:
    """Return where the daemon that runs these settings listens: beside the state file, then beside the settings file.

    `state` is [daemon] state, as an absolute address.
    """
    kind, _, file = state.partition("://")
    beside = [settings_file.absolute()]
    if kind == "sqlite":
        beside.insert(0, Path(file).resolve())
    return [_socket_beside(path) for path in beside]


def _socket_beside(path: Path) -> Path:
    return Path(f"{path}-control")


def path_at_start(settings_file: Path) -> Path:
    """Return the absolute path by which commands tell daemons apart.

    A link to the settings file keeps its own path: several daemons may run one file, each through a link of its own.
    """
    return settings_file.parent.resolve() / settings_file.name


def path_for_commands(settings_file: Path, get_state: Callable[[], str]) -> Path:
    """Return the path at which a command reaches the daemon that runs these settings.

    The socket beside the settings file can only be that of this daemon. The one beside a state file may be that of
    another daemon. `get_state` returns [daemon] state, as an absolute address. It is called only if no daemon listens
    beside the settings file.
    """
    beside_settings = _socket_beside(settings_file.absolute())
    with suppress(OSError):  # for example, a path that is too long for a socket
        if _is_in_use(beside_settings):
            return beside_settings
    return control_paths(get_state(), settings_file)[0]


@contextmanager
def listening_at(*paths: Path) -> Iterator[Sequence[socket.socket]]:
    """Yield sockets that listen at all paths where this is possible, until the end of the block.

    Raises CannotListen if it is possible nowhere.
    """
    listeners, why = list[socket.socket](), list[str]()
    with ExitStack() as stack:
        for path in paths:
            try:
                listeners.append(stack.enter_context(_listening_at(path)))
            except CannotListen as error:
                why.append(str(error))
        if not listeners:
            raise CannotListen("; ".join(why))
        yield listeners


@contextmanager
def _listening_at(path: Path) -> Iterator[socket.socket]:
    with _listener_unless_in_use(path) as listener:
        ours = path.lstat()
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.path.samestat(path.lstat(), ours):  # another process may have put another socket there
                    path.unlink()


def _listener_unless_in_use(path: Path) -> socket.socket:
    if (length := len(os.fsencode(path))) > LONGEST_PATH_IN_BYTES:
        raise _refused(path, f"the path has {length} bytes; the path of a socket has at most {LONGEST_PATH_IN_BYTES}")
    try:
        with _locked(path.parent):
            _refuse_another_kind(path)
            if _is_in_use(path):
                raise _refused(path, "another daemon listens there")
            return _listener(path)
    except OSError as error:
        raise _refused(path, os.strerror(error.errno) if error.errno else str(error)) from error


def _refuse_another_kind(path: Path) -> None:
    """Raise CannotListen if there is a file at the path that is not a socket."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _refused(path, "exists already, and is not a socket")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of the directory. Raises OSError if another process holds it for too long."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + LONGEST_WAIT_IN_SECONDS
        while not _is_locked(descriptor):
            if time.monotonic() > until:
                raise BlockingIOError("another process holds the lock of its directory")
            time.sleep(PAUSE_IN_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _listener(path: Path) -> socket.socket:
    """Return a socket that already listens when it appears at the path.

    Another daemon would replace a socket at which no process listens.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as private:
            new = Path(private, "s")
            listener.bind(str(new))
            new.chmod(MODE)
            listener.listen()
            new.replace(path)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_in_use(path: Path) -> bool:
    """Return whether a process listens at the path. Raises OSError if this cannot be found out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # the queue of clients that wait to be accepted is full
            pass
    return True


def _refused(path: Path, why: str) -> CannotListen:
    return CannotListen(f"the control socket {path}: {why}")
