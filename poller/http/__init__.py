"""The fast HTTP/1.1 client: connections, their pool, and proxies.

    pool.py        which connection carries a request?
    http1.py       how does one connection carry a request and its answer?
    keep_alive.py  how does a connection stay open while its answer takes hours?
    proxies.py     which proxy does a request go through?
    proxied.py     how does a request go out through a proxy? by aiohttp

It knows nothing of AWS: a request comes as bytes, and an answer is a status, headers and a body.
It imports errors.py and disclosure.py alone; aws/ and targets/ may import it.
"""
