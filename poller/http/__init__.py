"""HTTP: the fast HTTP/1.1 client, with its connections, their pool, and proxies; and what our servers ask of a request.

    pool.py        chooses or opens the connection for a request
    http1.py       sends a request on one connection and reads its answer
    keep_alive.py  keeps a connection open while its answer takes hours
    proxies.py     finds the proxy for a url
    proxied.py     sends a request through a proxy, by aiohttp
    request_body.py  reads the body of a request to a server of poller
    another_site.py  finds out whether a page of another site sent a request to a server of poller

This package knows nothing of AWS: a request is bytes, and an answer is a status, headers and a body.
It imports only errors.py and disclosure.py of poller. aws/, targets/, admin/ and lambda_api/ may import it.
"""
