"""THE WINDOW: what the daemon shows of itself over HTTP.

    server.py       the four pages, and their status codes
    connections.py  which connections are accepted, and for how long
    hosts.py        by which names a browser may call the server
    rendering.py    when a page is rendered
    page.py         the page for people
    words.py        how the page writes numbers

Belongs here: /metrics, /healthz, /readyz and the status page; all of it read-only.
Does not belong here: counting (telemetry/), knowing how a mapping is doing (engine/).
Who imports it: app.py.  It imports telemetry/, model/ and errors, and is one of the few places that know aiohttp.
"""
