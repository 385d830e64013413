"""LIVE CHECKS: the faults of the settings that only AWS can find. `poller check --live` asks AWS, and changes nothing.

    making.py         makes all checks, some at a time
    rows.py           what a check returns, and what an error of AWS means
    sources.py        are the queues and streams there, can they be read, and do they suit the function?
    queue_access.py   may the messages of a queue be deleted, and hidden again?
    functions.py      may the functions on Lambda be invoked?
    urls.py           do the urls of HTTP functions accept connections?
    destinations.py   are the destinations there?
    event_queues.py   may the events of a function wait in an SQS queue?
    tables.py         are the tables of leases there, with the right key and no rows of other programs?

To check something else, write a function that returns rows, and add it to `making.checks_of`.
Each check has the identity that the daemon has for the same resource.

A finding says only what AWS has answered. If AWS has no call for something, the finding says that it is not checked.

Belongs here: requests that read, that AWS itself calls a dry run, or that AWS must refuse.
Does not belong here: rules of AWS (core/), and any request that changes something.
"""
