"""Where is a change logged that a command itself makes, without a daemon? On stderr, and in the host's system log.

    stderr        the line `change_made`, as the daemon would write it: in the form of daemon.log_format
    system log    the same fields as JSON, under the name poller: `journalctl -t poller`, or /var/log/syslog

A host without a system log, such as a container, has only the line on stderr.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path

from poller.facts import ChangeMade
from poller.facts.declaration import DECLARATIONS
from poller.settings.values import Settings

SYSTEM_LOG = Path("/dev/log")

USER_INFO = 14
"""The priority: facility 1 (user) and severity 6 (info). Source: RFC 3164, section 4.1.1."""


def log_change(change: ChangeMade, settings: Settings) -> None:
    """Log the change in both places. It never raises an error, because the change is made.

    Call it before anything is printed: stdout may be closed or full, which ends the command.
    """
    import structlog

    from poller.telemetry import logs
    from poller.telemetry.lines import writer

    logs.configure(settings.daemon.log_format)
    write = writer(DECLARATIONS[ChangeMade], structlog.get_logger("poller"))
    assert write is not None, "the line has the level info"
    write(change, None)
    fields = {name: value for name, value in change._asdict().items() if value is not None}
    line = f"<{USER_INFO}>poller[{os.getpid()}]: {json.dumps({'event': 'change_made', **fields})}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system_log:
        system_log.setblocking(False)  # a system log that does not read must not block the command
        system_log.connect(str(SYSTEM_LOG))
        system_log.send(line.encode())
