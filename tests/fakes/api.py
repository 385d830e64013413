"""How do tests serve Lambda's API? With the real server over functions in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from poller.admin.listening import bound
from poller.lambda_api.exchange import Answer
from poller.lambda_api.invoking import Elsewhere, Invoking, PassOn, nowhere
from poller.lambda_api.names import Home
from poller.lambda_api.routes import Directory, Routes
from poller.lambda_api.server import Access, Api, serve
from poller.model.event import Event
from poller.model.function import Function
from poller.model.ids import FunctionName, RequestId
from poller.model.invocation import Answered, Invocation, Response
from tests.fakes.functions import callable_kind, function
from tests.fakes.recorded import Recorded

HOME = Home(region="eu-west-1", account="123456789012")


class FakeFunctions:
    """Functions in memory. Each call returns `response`, or the payload of the call if `response` is None.

    All calls and events are kept. If `error` is set, calls and events raise it. If `is_busy` is true, other workers are
    asked first, through `pass_on`.
    """

    def __init__(self, *functions: Function) -> None:
        self.functions = {one.name: one for one in functions or (function(callable_kind("f:handler")),)}
        self.response: Response | None = None
        self.error: Exception | None = None
        self.is_busy = False
        self.pass_on: PassOn = nowhere
        self.called: list[Invocation] = []
        self.accepted: list[Event] = []
        self.emit = Recorded()

    async def call(self, _function: Function, invocation: Invocation, elsewhere: Elsewhere, /) -> Response | Answer:
        if self.is_busy and (passed := await elsewhere()) is not None:
            return passed
        if self.error is not None:
            raise self.error
        self.called.append(invocation)
        return Answered(invocation.payload) if self.response is None else self.response

    async def accept(
        self,
        function: FunctionName,
        payload: bytes,
        *,
        request_id: RequestId,
        invoked_arn: str | None,
        trace: str,
        traceparent: str,
    ) -> None:
        if self.error is not None:
            raise self.error
        self.accepted.append(
            Event(
                request_id=request_id,
                function=function,
                payload=payload,
                accepted_at=0.0,
                due_at=0.0,
                invoked_arn=invoked_arn,
                trace=trace,
                traceparent=traceparent,
            )
        )

    def routes(self) -> Routes:
        return Routes(
            directory=lambda: Directory(functions=self.functions, home=HOME, file="/etc/poller.toml"),
            invoking=Invoking(call=self.call, accept=self.accept, pass_on=self.pass_on),
        )

    def api(self, access: Access | None = None) -> Api:
        return Api(self.routes(), access=lambda: access or Access(), emit=self.emit)

    @asynccontextmanager
    async def served(self, access: Access | None = None, stopping: anyio.Event | None = None) -> AsyncIterator[str]:
        """Yield the url of a server of the API."""
        api = self.api(access)
        listeners = await bound(("127.0.0.1", 0), option="test")
        async with serve(listeners, api, stopping=stopping or anyio.Event()) as (host, port):
            yield f"http://{host}:{port}"
