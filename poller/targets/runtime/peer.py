"""Does a loopback connection come from a process of a given session?

    connection ── its two addresses ──> inode of the socket at the other end ── /proc/PID/fd ──> a process that holds it

Only Linux can answer this; on other systems every connection is accepted.
The kernel's sock_diag finds a socket by its addresses in 25 µs; where it is missing, /proc/net/tcp lists all sockets.
A process's descriptors may be unreadable, because it changed its user or forbids reading. Such a process counts as a
holder of every socket of its own user, because a socket's user is public.

Source: sock_diag(7), proc(5), linux/inet_diag.h.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from poller.targets.runtime.sessions import names, processes_and_sessions

Address = tuple[str, int]

Origin = Literal["session", "another_process", "closed"]
"""The holder of the other end of a connection: a process of the session, another process, or none if it is closed."""

ANSWER_IN_SECONDS = 1.0
"""How long to wait for the kernel, which normally answers at once."""

ENDED = (FileNotFoundError, ProcessLookupError)
"""The errors of reading /proc for a process that has ended."""


class Socket(NamedTuple):
    """A socket of this host, and the user who owns it."""

    inode: int
    user: int


def origin(connection: socket.socket, session: int) -> Origin:
    """Return who holds the other end of the connection.

    Call it in a worker thread: it reads /proc.

    Raises OSError if no descriptor is left.
    """
    peer = peer_of(connection)
    if peer is not None and any(_may_hold(pid, peer) for pid in _processes(session)):
        return "session"
    # The process may have ended while the descriptors were read. Then no other process holds the socket.
    return "another_process" if peer_of(connection) is not None else "closed"


def peer_of(connection: socket.socket) -> Socket | None:
    """Return the socket at the other end of an IPv4 connection within this host, or None if it is closed already."""
    try:
        theirs, ours = connection.getpeername(), connection.getsockname()
    except OSError:
        return None
    found: Socket | None
    try:
        found = diagnosed(theirs, ours)
    except OSError:  # no such socket, or a kernel without sock_diag: both answer ENOENT
        found = listed(theirs, ours)
    return found if found is not None and found.inode else None  # a closed socket has no inode


_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions, states
_IDENTITY = struct.Struct("!HH4s12x4s12x")  # ports, addresses
_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)  # on any interface
_ERROR = struct.Struct("=16xi")  # header; negated errno
_ANSWER = struct.Struct("=16x4x48x12xII")  # header, state, identity, timer and queues; user, inode


def diagnosed(local: Address, remote: Address) -> Socket:
    """Ask the kernel for the socket with these addresses.

    Raises OSError if there is no such socket, or no sock_diag.
    """
    identity = _IDENTITY.pack(local[1], remote[1], socket.inet_aton(local[0]), socket.inet_aton(remote[0]))
    question = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE) + identity + _ANY_COOKIE
    header = _HEADER.pack(_HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(ANSWER_IN_SECONDS)
        netlink.send(header + question)
        answer = netlink.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        (negated,) = _ERROR.unpack_from(answer)
        raise OSError(-negated, os.strerror(-negated))
    user, inode = _ANSWER.unpack_from(answer)
    return Socket(inode, user)


def listed(local: Address, remote: Address) -> Socket | None:
    """Return the socket with these addresses from the lists of all sockets of this network namespace, or None."""
    ends = [f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}" for host, port in (local, remote)]
    for name in ("tcp", "tcp6"):  # an IPv6 socket may speak IPv4; its addresses end with the IPv4 ones
        with suppress(FileNotFoundError):
            for line in Path("/proc/net", name).read_text().splitlines()[1:]:
                fields = line.split()
                if [fields[1][-13:], fields[2][-13:]] == ends:
                    return Socket(int(fields[9]), int(fields[7]))
    return None


def _processes(session: int) -> Iterator[int]:
    """Yield the processes of the session. Its leader comes first, because it makes most connections."""
    yield session
    yield from (pid for pid, its_session in processes_and_sessions() if its_session == session)


def _may_hold(pid: int, peer: Socket) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_target(f"{folder}/{name}") == f"socket:[{peer.inode}]" for name in names(folder))
    except PermissionError:
        return _user(pid) == peer.user
    except ENDED:
        return False


def _target(link: str) -> str | None:
    with suppress(FileNotFoundError):  # closed meanwhile
        return os.readlink(link)  # noqa: PTH115
    return None


def _user(pid: int) -> int | None:
    with suppress(*ENDED):
        return effective_user(Path(f"/proc/{pid}/status").read_text())
    return None


def effective_user(status: str) -> int | None:
    """Return the user who owns a process's sockets. `status` is the text of its /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[2])  # after the real user
    return None
