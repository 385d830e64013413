"""How does a mapping run? The engine's tasks ask core/ what to do next, call a port to do it, and wait for the answer.

    supervisor.py      adds, replaces, removes, pauses and resumes mappings
    runs.py            how does one run of a mapping live, and what follows when it crashes?
    supervised.py      what is the status of a supervised mapping?
    queues/            does everything with a message, from its receive to its delete
    streams/           does everything with a record of a shard, from its read to its checkpoint
    events/            does everything with an asynchronous event, from its acceptance to its end
    leases/            which shards does this process read, if several workers share them?
    units.py           how does this process get its part of a limit that all workers share?
    pauses_seen.py     how does a pause reach the other workers?
    calls.py           calls functions for clients
    backlogs.py        how much work waits for the workers? An autoscaler asks
    idle.py            the run of a mapping whose function is never invoked
    source_health.py   does the source work, and what is wrong with it?
    source_pauses.py   how long does a mapping wait after its source has failed?
    troubles.py        which calls to a source or to the position store fail now?
    sharing.py         opens a value once for several mappings, and closes it after the last one
    stop.py            the stages of a stop, as events

Belongs here: waiting, tasks, cancellation, and the order in which calls are made.
Does not belong here: rules of AWS (core/), wire formats (sources/, targets/), names of metrics (facts/).
The engine uses only anyio to wait, so that `tests/simulation/` can run all of it on a virtual clock.
"""
