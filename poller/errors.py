"""What can go wrong, and who has to do something about it.

    PollerError
    ├── SettingsError         the file is not usable; raised by settings/, shown by the command line, exit code 2
    ├── CannotListen          the HTTP server's address is taken, or not there yet; raised by admin/, exit code 1,
    │                         so that a service manager tries again
    ├── CannotReload         the daemon does not make this change, or not now; raised by reloading.py, answered to the
    │                         client, who may ask again
    ├── InUse                 another process has the state file; raised by stores/, exit code 1, as it may end
    ├── CannotStore           the state file cannot be written now; raised by stores/, exit code 1, as room may be made
    └── ServiceError          the other side of a port did not do what it was asked; raised by adapters,
        │                     caught by the engine, which waits and tries again and says so in /readyz
        ├── NotFound          the queue, stream or function does not exist
        ├── AccessDenied      the identity may not do this (or its credentials are unknown or expired)
        ├── Throttled         too many requests; carries the pause that the service asked for
        ├── Unreachable       no answer: connection refused or lost, timeout, or an answer of 5xx
        ├── ExpiredIterator   a stream's read cursor is too old: take a new one
        ├── Trimmed           the records at a position are gone from the stream
        └── Rejected          any other error: the request itself is at fault

An answer of a function, even a failing one, is a `Response`, never an exception. Two responses have the names of
exceptions, Throttled and Unreachable; a module that needs both writes `errors.Throttled` for the exception.
"""

from __future__ import annotations


class PollerError(Exception):
    """Root of everything this program raises on purpose."""


class SettingsError(PollerError):
    """The settings have faults; `faults` lists every one, each a line that names the key, the value and the rule."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class CannotListen(PollerError):
    """The address of the HTTP server cannot be bound now; it may be free another time."""


class CannotReload(PollerError):
    """The daemon refuses a change: it stops, or it has no such function, or it runs another file."""


class InUse(PollerError):
    """The state file belongs to another running process; it may be free another time."""


class CannotStore(PollerError):
    """The state file cannot be written now, as on a full disk; later there may be room."""


class ServiceError(PollerError):
    """A service refused or did not answer.

    `code` is the service's own error code (such as `QueueDoesNotExist`), or ours where it gave none.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class NotFound(ServiceError):
    """What was named does not exist."""


class AccessDenied(ServiceError):
    """The credentials do not allow this, or are not valid."""


class Throttled(ServiceError):
    """Too many requests. `retry_after` is the pause the service asked for, in seconds, if it named one."""

    def __init__(self, message: str, *, code: str, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class Unreachable(ServiceError):
    """No usable answer came.

    `was_sent` is true when the request may have reached the service, so that its effect is unknown.
    """

    def __init__(self, message: str, *, code: str, was_sent: bool) -> None:
        super().__init__(message, code=code)
        self.was_sent = was_sent


class ExpiredIterator(ServiceError):
    """A read cursor was not used in time; the position that it stood for is still good."""


class Trimmed(ServiceError):
    """The stream no longer has the records at a position; its oldest record is what there is."""


class Rejected(ServiceError):
    """The service understood the request and refused it for a reason that waiting will not cure."""


LASTING = (AccessDenied, NotFound, Rejected)
"""What waiting alone will not cure."""
