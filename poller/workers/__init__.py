"""THE WORKERS of one host: `poller run --workers N` runs N processes of one settings file under a parent.

    signals, clients ──> the parent ──┬── worker 1   a whole daemon (app.py) without addresses of its own
                                      ├── worker 2
                                      └── worker N

The parent runs no mapping. It opens the sockets, starts the workers, restarts a worker that has died, and shows one set
of pages for all of them. It passes the requests of clients on to the workers, and writes the log lines of the workers.
Each worker has two links to its parent: a channel, and an HTTP server at a Unix socket in a private folder.
The other workers send it calls at this socket, too.

    parent.py        begin here: the parent, from the settings to the exit code
    team.py          which workers run, and when is one started again?
    life.py          one process of a worker, as the parent sees it, from its start to its end
    view.py          what do the pages show of all workers?
    passing_on.py    how does the parent pass a change on to the workers?
    calls.py         how does the parent pass a call of a function on?
    other_workers.py how does a worker pass on a call that it may not begin?
    asking.py        how does the parent ask a worker?
    starting.py      with which settings does a worker start?
    membership.py    what does a worker know of its parent, and what do they say to each other?
    channel.py       how do the two send messages through a pair of sockets?
    report.py        what does a worker tell about itself?
    folder.py        where do the workers have their sockets and their copy of the settings?
    lines.py         how does the parent write what its workers log?

Belongs here: everything that exists only because several processes are one daemon.
Does not belong here: how a worker does its work (app.py and below), and which shards it reads (engine/leases/).
The parent's modules do not import app.py: they start it.
"""
