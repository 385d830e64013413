"""THE ADMIN SERVER: pages that show how the daemon is doing, and calls that change something, over HTTP.

    server.py       the pages and their status codes, at a TCP address and at the control socket
    readiness.py    what /readyz says
    status_report.py  what /api/status says
    viewing.py      the values that the page and /api/status show
    changing.py     how a call that changes something is answered
    calls.py        the calls that change something
    openapi.py      the description of the API for programs
    answers.py      the members of each answer
    requester.py    who asks for a change, in words for the log
    guard.py        the rules by which requests are refused
    control.py      where the control socket is, and who may connect
    listening.py    at which addresses a server listens
    connections.py  which connections are accepted, and for how long
    hosts.py        by which names a browser may call the server
    scaling.py      how much work waits, for an autoscaler
    rendering.py    when a page is rendered
    page/           the page for people
    acting.py       the routes of the page, and the forms on it
    asking.py       the pages that ask a person before a change
    recent.py       the changes that were made lately
    sessions.py     which browsers have logged in
    checking.py     what a request may do
    words.py        how the page writes numbers
    own_words.py    which words of a function a reader may see

Belongs here: /metrics, /healthz, /readyz, the status page and /api/.
Does not belong here: counting (telemetry/), the state of a mapping (engine/), making a change (requested_changes.py).
"""
