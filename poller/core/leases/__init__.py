"""The rules for leases: which worker may read a shard, until when, and how the next worker gets it.

Several workers share a table (`ports.LeaseStore`). A worker is one running daemon. There is no leader: each worker
follows these rules alone, and the table decides by compare and set.

The table has rows. Every accepted write of a row adds one to the row's counter.

    lease     a shard, or one unit of a function's concurrency. `owner` is the worker that holds it, or None.
    worker    one row for each worker, into which other workers write messages

The core reads these details of rows; all may be missing:

    lease     `bytes_per_second`, dampened; `children`, once the shard has been read to its end; `parents`
    worker    `heartbeat`, a new value as often as the worker renews; `is_stopping`, once it gives its leases away

The rules, each with the module that decides it:

    R1  compare and set   A worker writes a row only if the row's counter is the one that the worker read.
    (the store)
    R2  take              A worker may take a lease if the lease has no owner, or if the worker is its owner but does
    (expiry.py)           not hold it any more, or if the counter has not moved for the lease duration. The worker
                          measures this time on its own monotonic clock, from the moment when it first saw this value
                          of the counter. If it is told that the process of the owner has ended, it need not wait.
                          Nobody takes the lease of a drained shard.
    R3  token             The fencing token is the counter's value after the take. It stays the same for this owner,
    (holding.py)          and the token of every later owner is larger. Each invocation carries it. A new row begins
                          at 1 again, so a shard's row is deleted only when the stream can never list the shard again.
                          If a person deletes it earlier, a worker creates it again with a far larger counter
                          (lost_rows.py).
    R4  deadline          A take or a renewal that was sent at t, and accepted, lets the worker deliver until
    (holding.py)          t + SAFE_PART of the lease duration. At that moment the worker has lost the lease: it begins
                          no invocation, and cancels those that run.
    R5  checkpoint        Only the worker that holds the lease stores a checkpoint, by R1. This is a renewal, too. So a
    (holding.py)          worker that lost the lease can never store one.
    R6  lost answer       If the answer to a write is lost, or if a write is rejected, the worker reads the row. If the
    (holding.py)          owner and the token are still its own, it goes on from the counter that it read. Otherwise it
                          has lost the lease.
                          A row that was read never moves the deadline, because the accepted write may be an older one
                          that arrived late. So after a lost answer to a take, the worker begins no invocation until a
                          renewal is accepted, or until it has taken the lease again by R2.
                          The worker also takes no lease until the table answers another of its writes. Otherwise it
                          could take a lease again and again and never hold it. Each take would move the counter, so no
                          other worker could take the lease either.
                          The worker's heartbeat counts the answers. So if it gets no answers, the other workers do not
                          count it as live. One case is left: its heartbeats get answers, and its takes get none. Then
                          the worker takes its leases again and again, and nobody reads them. The time for which these
                          shards have had no reader shows this.
    R7  hand-over         A worker gives a lease away only when the shard's records in hand are done: it writes the row
    (holding.py,          with the last checkpoint and without an owner, and then puts an offer into the row of the
    placement.py)         worker that should take it. From the moment when it sends this write, the worker delivers
                          nothing until a new take: if the answer is lost, the write may still arrive, and then another
                          worker takes the lease at once.
                          Every worker reads its own row each second, and more often while it expects offers. So before
                          a worker stops, it tells the others, and goes on until they have read this message.
    R8  request           A worker that has too little puts a request for leases of a stream into the row of a worker
    (placement.py)        that has much more. That worker chooses the leases, and hands them over by R7. No worker takes
                          a lease that another worker renews.
    R9  parents           A lease of a child shard is taken only when every parent that has a row is drained. The row
    (parents.py,          of a parent is created before those of its children, and the worker reads the parents' rows
    core/streams/         before it takes a child: a scan is not a picture of one moment, so it may have missed them.
    lineage.py)
    R10 units             A worker without a unit of a function's concurrency takes no lease of the function's
    (units.py)            mappings, and gives away those that it holds. So only the workers with a unit share these
                          leases, and each one's share is computed over these workers alone.

`balancing.py` places shards by what the workers read, and `units.py` places units by their number. Both are kinds of
placement.

Times are in seconds on the worker's monotonic clock, which also counts while the host sleeps. No worker compares its
clock with another host's clock. Two clocks may run at different rates: SAFE_PART covers a tenth in each direction.
After a pause that no clock shows (the process is stopped between the check of R4 and the sending), a lane begins at
most one invocation with an old token.

`tests/model/leases.pml` is a model of these rules in Promela; it names R1 to R10.
Sources: the Kinesis Client Library's lease table, and its rules for renewing and taking.
"""
