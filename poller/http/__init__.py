"""HTTP: the fast HTTP/1.1 client, with its connections, their pool, and proxies; and what our servers ask of a request.

    pool.py        chooses or opens the connection for a request
    http1.py       sends a request on one connection and reads its answer
    keep_alive.py  keeps a connection open while its answer takes hours
    proxies.py     finds the proxy for a url
    proxied.py     sends a request through a proxy, by aiohttp
    request_body.py  reads the body of a request to a server of poller
    another_site.py  finds out whether a page of another site sent a request to a server of poller

A request is bytes, and an answer is a status, headers and a body.

Belongs here: how these bytes are sent and read, connections, their pool, proxies, and code of all our servers.
Does not belong here: anything of AWS (aws/), what an answer means (aws/, targets/), the routes of our servers (admin/,
lambda_api/).
"""
