"""Which objects does the server of Lambda's API run with? This module makes them for app.py.

    request ── lambda_api/ ──┬── a call ───> engine/calls.py ──> the function, shared with its mappings
                             └── an event ─> engine/events/accepting.py ──> its event queue

The functions, keys and hosts are those of the settings in use, so a reload changes them at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from poller.admin.listening import Address
from poller.composition import Composition
from poller.engine.stop import Stop
from poller.facts import Emit
from poller.lambda_api.invoking import Invoking
from poller.lambda_api.names import Home
from poller.lambda_api.routes import Directory, Routes
from poller.lambda_api.server import Access, Api, serve
from poller.settings.values import Settings

UNKNOWN_REGION = "us-east-1"
UNKNOWN_ACCOUNT = "000000000000"
"""What stands in ARNs if neither the file nor one of its functions names a region or an account."""


@asynccontextmanager
async def serve_api(
    composition: Composition, in_use: Callable[[], Settings], *, file: str, stop: Stop, emit: Emit
) -> AsyncIterator[Address | None]:
    """Serve Lambda's API until the block is left, if the settings ask for it. Yields the address, None without it.

    The end of the block waits for the calls that run, at most until the stop's grace is over.
    Raises CannotListen if the address cannot be bound.
    """
    listen = in_use().daemon.api_listen
    if listen is None:
        yield None
        return
    calls = composition.calls_of_clients(stop)
    routes = Routes(
        directory=lambda: directory_of(in_use(), file),
        invoking=Invoking(call=calls.call, accept=composition.events.acceptor.accept),
    )
    api = Api(routes, access=lambda: access_of(in_use()), emit=emit)
    async with serve(listen, api, stopping=stop.draining) as address, calls.running():
        yield address


def directory_of(settings: Settings, file: str) -> Directory:
    """Return the functions that the API knows, and where it finds them: in one region and one account."""
    arn = next((function.arn for function in settings.functions.values()), None)
    home = Home(
        partition=arn.partition if arn is not None else "aws",
        region=settings.daemon.region or (arn.region if arn is not None else UNKNOWN_REGION),
        account=settings.daemon.account_id or (arn.account if arn is not None else UNKNOWN_ACCOUNT),
    )
    return Directory(functions=settings.functions, home=home, file=file)


def access_of(settings: Settings) -> Access:
    """Return who may call. Without keys signatures are not looked at; then the settings allow loopback only."""
    daemon = settings.daemon
    return Access(hosts=daemon.http_hosts, keys=daemon.api_keys or None, region=daemon.region)
