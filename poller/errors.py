"""Which exceptions does poller raise, who raises each one, and what does the catcher do?

    PollerError
    ├── SettingsError         the settings or state file is unusable; raised by settings/, aws/ and stores/; exit code 2
    ├── CannotListen          the HTTP server's address is in use or does not exist yet; raised by admin/; exit code 1,
    │                         so that a service manager starts the daemon again
    │                         (without its control socket, the daemon runs on and logs a fact)
    ├── CannotChange          the daemon refuses a reload, a pause, a resume or an order about a blocked shard; raised
    │   │                     by requested_changes.py and below, answered to the client, which may try again
    │   └── PartlyChanged     some workers have made the change, and others have not; raised by workers/
    ├── InUse                 another process uses the state file; raised by stores/; exit code 1, because
    │                         that process may end soon
    ├── CannotStore           the state, or a mapping's kcl_table, cannot be used now; raised by stores/,
    │                         composition/state.py and composition/kcl.py; exit code 1, because space on the disk may
    │                         become free, or the table's service may answer again; a kcl_table stops only its mapping
    └── ServiceError          a service or a store did not do what was asked; raised by adapters, caught by the
        │                     engine, which waits, tries again, and shows the reason in /readyz
        ├── NotFound          the queue, stream or function does not exist
        ├── AccessDenied      the identity may not do this, or its credentials are unknown or expired
        ├── Throttled         too many requests; carries the pause that the service asked for
        ├── Unreachable       no answer: connection refused or lost, timeout, or an answer of 5xx
        ├── QueueFull         an event queue has no room for more events; carries the pause before the next try
        ├── ExpiredIterator   a shard's iterator is too old; the engine takes a new one
        ├── Trimmed           the stream no longer has the records at a position
        └── Rejected          any other error: the request itself is at fault
            ├── DocumentTooLarge  a destination accepts no document of this size; the engine sends a smaller one
            └── EventQueueRefused  waiting events could be lost in this SQS queue; the daemon does not start with it

A function's answer is always a `Response`, never an exception, even if the function fails.
Two responses have the same names as exceptions, Throttled and Unreachable. A module that needs both writes
`errors.Throttled` for the exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class PollerError(Exception):
    """The base class of every exception that poller raises on purpose."""


class SettingsError(PollerError):
    """The settings have faults. `faults` has one line for each fault. The line says what is wrong and where."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class CannotListen(PollerError):
    """The HTTP server or the control socket cannot bind its address now. A later try may succeed."""


class CannotChange(PollerError):
    """The daemon refuses a reload, a pause, a resume or an order about a shard.

    The text says why, such as another settings file.
    """


class PartlyChanged(CannotChange):
    """Some workers have made a change. The text says which ones have not, and why; `answer` is that of the others."""

    def __init__(self, text: str, answer: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.answer = answer


class InUse(PollerError):
    """Another running process uses the state file. A later try may succeed."""


class CannotStore(PollerError):
    """The state cannot be used now. The disk is full, or the service of the table fails. A later try may succeed."""


class ServiceError(PollerError):
    """A service refused a request or did not answer.

    `code` is the service's error code (such as `QueueDoesNotExist`), or a code of poller if the service gave none.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class NotFound(ServiceError):
    """The queue, stream, shard, function or destination does not exist."""


class AccessDenied(ServiceError):
    """The credentials do not allow the request, or they are not valid."""


class Throttled(ServiceError):
    """The service got too many requests. `retry_after` is the pause that it asked for, in seconds, or None."""

    def __init__(self, message: str, *, code: str, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Unreachable(ServiceError):
    """No usable answer came.

    `was_sent` is true if the request may have reached the service and may have had its effect.
    """

    def __init__(self, message: str, *, code: str, was_sent: bool) -> None:
        super().__init__(message, code=code)
        self.was_sent = was_sent


class QueueFull(ServiceError):
    """An event queue has no room for more events. `retry_after` is the pause before the next try, in seconds."""

    def __init__(self, message: str, *, code: str, retry_after: float) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class ExpiredIterator(ServiceError):
    """An iterator is too old to read with. A new iterator at the same position works."""


class Trimmed(ServiceError):
    """The stream no longer has the records at a position. Reading can continue at the stream's oldest record."""


class Rejected(ServiceError):
    """The service refused the request itself. The same request will fail again later."""


class DocumentTooLarge(Rejected):
    """The document has more bytes than the destination accepts. A smaller document may be accepted."""


class EventQueueRefused(Rejected):
    """Waiting events could be lost in this SQS queue, so it may not be an event queue. `code` names the rule."""


LASTING = (AccessDenied, NotFound, Rejected)
"""The errors that do not end by waiting: a person has to change something."""
