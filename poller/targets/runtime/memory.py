"""How much memory do child processes use, and which ones use more than their function may?

The memory is measured, because the kernel's limits do not fit: RLIMIT_AS counts memory that Node.js reserves and never
uses, and few daemons may create a control group.
Shared memory is divided between the processes that share it (PSS), so that a child that forks is not counted twice.
A measurement misses memory that is used only between two measurements, and processes that have left the session.

Source: proc_pid_statm(5), proc_pid_smaps(5).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from poller.targets.runtime.sessions import processes_and_sessions

_PAGE_IN_BYTES = os.sysconf("SC_PAGE_SIZE")


def exceeding(sessions: Collection[int], limit_in_bytes: int) -> list[int]:
    """Return the sessions whose processes together use more memory than the limit.

    Call it in a worker thread, because it reads /proc.

    Raises OSError if no descriptor is left.
    """
    if not sessions:
        return []
    processes: dict[int, list[int]] = {session: [] for session in sessions}
    for pid, session in processes_and_sessions():
        if session in processes:
            processes[session].append(pid)
    return [session for session, pids in processes.items() if _use_more(pids, limit_in_bytes)]


def peak_in_bytes(pid: int) -> int | None:
    """Return the highest memory use of this process so far, or None if it is unknown.

    Its child processes do not count.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _use_more(pids: list[int], limit_in_bytes: int) -> bool:
    """Return whether the processes together use more memory than this.

    The resident memory is checked first: it is never less than the PSS, and it is read quickly, while the PSS takes
    milliseconds.
    """
    return sum(map(_resident, pids)) > limit_in_bytes and sum(map(_share, pids)) > limit_in_bytes


def _resident(pid: int) -> int:
    return _statm(pid)[1] * _PAGE_IN_BYTES


def _share(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # the process has ended, or may not be read: only its private memory counts
        _, resident, shared = _statm(pid)
        return (resident - shared) * _PAGE_IN_BYTES
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _statm(pid: int) -> tuple[int, int, int]:
    """Return the size, resident and shared memory in pages; zeros if the process has ended."""
    try:
        size, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
    except OSError:
        return 0, 0, 0
    return size, resident, shared
