"""THE WINDOW: what the daemon shows of itself over HTTP.

Belongs here: /metrics, /healthz, /readyz and the status page; all of it read-only.
Does not belong here: counting (telemetry/), knowing how a mapping is doing (engine/).
Who imports it: app.py.  It imports telemetry/, model/ and errors, and is one of the few places that know aiohttp.
"""
