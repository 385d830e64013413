"""Which shards does this process read? Its worker shares them with the other workers of the table.

    stream mappings, functions ── `worker.lease(key)` ──> the worker ── ports.LeaseStore ──> the table <── other workers

A process has one `Worker`, for all of its mappings and functions. The rules are those of `core/leases/`.

worker.py     the worker of this process; begin here
lease.py      one lease that this worker holds, as its user sees it
hands.py      the leases in the worker's hands: which of them users want, have, and have left
writing.py    writes leases in hand: renewals, checkpoints, and those that are given away
taking.py     takes the leases that users wait for
scanning.py   scans the table, and acts on what the rows show
moving.py     moves leases between the workers: it asks for leases, offers them, and answers requests
plan.py       decides which leases to take and to ask for
messages.py   reads and writes the worker's own row, and sends messages to other workers
deadlines.py  ends the use of leases that could not be renewed in time
watching.py   computes the status of the worker, for a person
rate.py       measures how many bytes a shard has a second
table.py      calls the table, with a limit for each call
health.py     knows whether the table works

A user is a task that reads a shard, or that needs a unit of a function's concurrency. Its part is this:

    async with worker.lease(key) as lease:     waits until this worker has the lease
        if lease is None: ...                  another worker has drained the shard
        with lease.scope:                      cancelled at the moment when the worker loses the lease
            lease.checkpoint, lease.blocks     where the previous worker has stopped
            lease.may_begin()                  the user asks this before each invocation, which carries `lease.token`
            lease.save(checkpoint)             the worker stores the newest one soon, many leases by one write
            await lease.stored()               at the end of a shard: wait for the write, and then read the children
            lease.is_wanted_back.wait()        another worker should read the shard: finish what is in hand, and leave
    ... the user has left: the worker stores the last checkpoint. If no other user of this process comes, it gives the
        lease away

At a stop (`begin_stop`), users of shards go on until the other workers know of the stop (`stop_announced`). Then each
user finishes the records in hand and leaves, and the lease goes to the live worker with the smallest load.
If a new run of a mapping follows an old one in this process, the new run gets the lease: the worker keeps it for up to
a second. While invocations of the old run still run, both runs may share it (`hands.py`).
A lease that no user of this process wants any more goes to another worker.
"""
