"""How does `poller invoke` call a function if no daemon runs? It opens this one function, calls it, and closes it.

    a request of Lambda's API ── composition/api.py ──> the function, or its event queue ──> an answer of Lambda's API

The request and the answer have the same form as with a daemon, so the command handles both cases with the same code.
No mapping runs, and the file of positions is not used.
An event is stored, and the next daemon invokes the function with it.
Warnings and errors are logged to stderr as text, because a person reads them. A failed call is not logged: the answer
says the same.
"""

from __future__ import annotations

from pathlib import Path

import anyio

from poller import process_memory
from poller.composition.api import routes_of
from poller.composition.mappings import compose
from poller.descriptors import raise_limit
from poller.engine.stop import Stop
from poller.facts import Fact, FunctionCalled
from poller.lambda_api.exchange import Answer, Request
from poller.settings.values import Settings
from poller.telemetry import logs
from poller.telemetry.telemetry import Telemetry


def answered(request: Request, settings: Settings, *, settings_path: Path) -> Answer:
    """Answer one request. Raises ApiError, or another PollerError if the function cannot be opened."""
    process_memory.protect()
    logs.configure("console", quiet=True)
    return anyio.run(_answered, request, settings, settings_path)


async def _answered(request: Request, settings: Settings, settings_path: Path) -> Answer:
    telemetry = Telemetry()
    for function in settings.functions:
        telemetry.begin_function(function)

    def emit(fact: Fact) -> None:
        if not isinstance(fact, FunctionCalled):
            telemetry.emit(fact)

    limit = raise_limit().original
    async with compose(settings, emit=emit, descriptor_limit=limit, is_daemon=False) as composition:
        calls = composition.functions.calls_of_clients(Stop())
        routes = routes_of(composition, calls, lambda: settings, file=str(settings_path))
        async with calls.running():
            return await routes.answer(request)
