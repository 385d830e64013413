"""Is this the service that it should be? An answer that lacks what the service always sends is refused as a whole.

Whatever listens at the endpoint, a proxy or another service: nothing is guessed from what it says.
The refusal names what was missed, and never what was there instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from poller.errors import Rejected


@contextmanager
def understood(service: str, what: str) -> Iterator[None]:
    """Around the taking apart of an answer: what is missing in it, or of another kind, is raised as Rejected."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        missed = f" (no {error})" if isinstance(error, KeyError) else ""
        raise unusable(service, f"no {what}{missed}") from error


def unusable(service: str, what: str) -> Rejected:
    return Rejected(f"the answer has {what}: is this {service}?", code="UnusableAnswer")
