"""Which objects does the server of Lambda's API need? This module makes them for app.py.

    request ── lambda_api/ ──┬── a call ───> engine/calls.py ──> the function, shared with its mappings
                             └── an event ─> engine/events/accepting.py ──> its event queue

The API reads functions, keys and hosts from the settings in use, so a reload changes them at once.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from poller.admin.listening import Address, bound
from poller.composition.mappings import Composition
from poller.engine.calls import Calls
from poller.engine.stop import Stop
from poller.facts import Emit
from poller.lambda_api.invoking import Invoking, PassOn, nowhere
from poller.lambda_api.names import Home
from poller.lambda_api.routes import Directory, Routes
from poller.lambda_api.server import OPTION, Access, Api, serve
from poller.settings.values import Settings

UNKNOWN_REGION = "us-east-1"
UNKNOWN_ACCOUNT = "000000000000"
"""The region and the account in ARNs if neither the settings nor one of their functions names any."""


def routes_of(
    composition: Composition, calls: Calls, in_use: Callable[[], Settings], *, file: str, pass_on: PassOn = nowhere
) -> Routes:
    """Return the object that answers requests. `file` is the settings file.

    `pass_on` lets another worker make a call that this process refuses.
    """
    return Routes(
        directory=lambda: directory_of(in_use(), file),
        invoking=Invoking(call=calls.call, accept=composition.events.acceptor.accept, pass_on=pass_on),
    )


def control_api(routes: Routes, *, emit: Emit) -> Api:
    """Return the API for the control socket, where only the daemon's own user can connect."""
    return Api(routes, access=Access, emit=emit)


@asynccontextmanager
async def serve_api(
    listeners: Sequence[socket.socket], routes: Routes, in_use: Callable[[], Settings], *, stop: Stop, emit: Emit
) -> AsyncIterator[Address | None]:
    """Serve Lambda's API at these sockets until the block is left. Yields the address, or None without a socket."""
    if not listeners:
        yield None
        return
    api = Api(routes, access=lambda: access_of(in_use()), emit=emit)
    async with serve(listeners, api, stopping=stop.draining) as address:
        yield address


async def api_listeners(settings: Settings) -> Sequence[socket.socket]:
    """Return the sockets that listen at `api_listen`; none without this option. Raises CannotListen."""
    listen = settings.daemon.api_listen
    return () if listen is None else await bound(listen, option=OPTION)


def directory_of(settings: Settings, file: str) -> Directory:
    """Return the functions that the API knows, with the region and the account that its errors name."""
    arn = next((function.arn for function in settings.functions.values()), None)
    home = Home(
        partition=arn.partition if arn is not None else "aws",
        region=settings.daemon.region or (arn.region if arn is not None else UNKNOWN_REGION),
        account=settings.daemon.account_id or (arn.account if arn is not None else UNKNOWN_ACCOUNT),
    )
    return Directory(functions=settings.functions, home=home, file=file)


def access_of(settings: Settings) -> Access:
    """Return the settings that decide which requests are accepted. Without keys, signatures are ignored."""
    daemon = settings.daemon
    return Access(hosts=daemon.http_hosts, keys=daemon.api_keys or None, region=daemon.region)
