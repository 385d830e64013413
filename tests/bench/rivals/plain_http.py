"""The same handler behind plain aiohttp, in the server's own process: the least that an HTTP server in Python costs."""

from __future__ import annotations

import sys

import orjson
import uvloop
from aiohttp import web


def handle(event: object, _context: object) -> object:
    return event


async def call(request: web.Request) -> web.Response:
    answer = handle(orjson.loads(await request.read()), None)
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/2015-03-31/functions/echo/invocations", call)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: None)
