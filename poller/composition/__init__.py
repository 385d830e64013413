"""THE COMPOSITION ROOT: the only part of the daemon that makes adapters and knows their classes.

    Settings ──> Composition ── open ──> one run of a mapping, with everything that it needs

    mappings.py      the run of a mapping; makes the objects of the other files
    functions.py     functions, with their targets and limits
    sources.py       the sources of queues and streams
    worker.py        the worker of this process, which has the leases of shards
    state.py         the state: memory, a file or a table
    kcl.py           the tables of KCL applications that contain shards of mappings
    kcl_by_hand.py   such a table, for a person who shows, moves or copies positions
    events.py        the destinations of asynchronous events
    event_queues.py  the queues of asynchronous events
    api.py           what the server of AWS Lambda's own API needs

Belongs here: which class serves an address, what is shared, and when it is opened and closed. Does not belong here:
a rule, or a wait for work.
"""
