"""What must hold in every life, for any kind of source?

concurrency   the running invocations of a function never exceed its reserved concurrency
facts         no fact shows the body of a record, and no fact reports a fault in poller itself
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from poller.facts import Fact, MappingCrashed
from tests.simulation.checker import Violation
from tests.simulation.life import Life
from tests.simulation.process import OurFault
from tests.simulation.streams import CANARY


def check_concurrency(life: Life) -> None:
    """Check the reserved concurrency. After a replacement, invocations of the old function do not count."""
    for function, way in life.opened:
        if way.most_running > function.definition.reserved_concurrency:
            raise Violation(f"{way.most_running} invocations at once: {function.definition}")


def check_facts(facts: Iterable[Fact]) -> None:
    """Check that mappings crashed only where the plan says so, and that no fact shows a record as text or base64."""
    encoded = b64encode(b'{"kind":"').decode()[:11]
    for fact in facts:
        text = repr(fact)
        if isinstance(fact, MappingCrashed) and not _is_planned(fact.error):
            raise Violation(f"a fault of our own: {text}")
        if CANARY in text or encoded in text:
            raise Violation(f"a record's content in {type(fact).__name__}: {text[:300]}")


def _is_planned(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_planned, error.exceptions))
    return isinstance(error, OurFault)
