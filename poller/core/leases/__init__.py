"""The rules for leases: which worker may read a shard, until when, and how the next worker gets it.

Several workers share a table (`ports.LeaseStore`). A worker is one running daemon. There is no leader: each worker
follows these rules alone, and the table decides by compare and set.

The table has rows. Every accepted write of a row adds one to the row's counter.

    lease     a shard, or one unit of a function's concurrency. `owner` is the worker that holds it, or None.
    worker    one row for each worker, into which other workers write messages

The rules, each with the module that decides it:

    R1  compare and set   A worker writes a row only if the row's counter is the one that the worker read.
    (the store)
    R2  take              A worker may take a lease if the lease has no owner, or if the worker is its owner but does
    (expiry.py)           not hold it any more, or if the counter has not moved for the lease duration. The worker
                          measures this time on its own monotonic clock, from the moment when it first saw this value
                          of the counter.
    R3  token             The fencing token is the counter's value after the take. It stays the same for this owner,
    (holding.py)          and the token of every later owner is larger. Each invocation carries it.
    R4  deadline          A take or a renewal that was sent at t, and accepted, lets the worker deliver until
    (holding.py)          t + SAFE_PART of the lease duration. At that moment the worker has lost the lease: it begins
                          no invocation, and cancels those that run.
    R5  checkpoint        Only the worker that holds the lease stores a checkpoint, by R1. This is a renewal, too. So a
    (holding.py)          worker that lost the lease can never store one.
    R6  lost answer       If the answer to a write is lost, or if a write is rejected, the worker reads the row. If
    (holding.py)          owner and token are still its own, it goes on from the counter that it read; otherwise it has
                          lost the lease.
    R7  hand-over         A worker gives a lease away only when the shard's records in hand are done and its checkpoint
    (handover.py)         is stored: it writes the row without an owner, and then puts an offer into the row of the
                          worker that should take it. Every worker reads its own row each second.
    R8  request           A worker that has too little puts a request for a lease into the row of the lease's owner.
    (balancing.py)        The owner hands it over by R7. No worker takes a lease that another worker renews.
    R9  parents           A lease of a child shard is taken only when every parent that has a row is drained.
    (core/streams/lineage.py)
    R10 units             A worker without a unit of a function's concurrency takes no lease of the function's
    (units.py)            mappings, and gives away those that it holds.

Times are in seconds on the worker's monotonic clock, which also counts while the host sleeps. No worker compares its
clock with another host's clock. Two clocks may run at different rates: SAFE_PART covers a tenth in each direction.
After a pause that no clock shows (the process is stopped between the check of R4 and the sending), a lane begins at
most one invocation with an old token.

`tests/model/leases.pml` is a model of these rules in Promela; it names R1 to R10.
Sources: the Kinesis Client Library's lease table, and its rules for renewing and taking.
"""
