"""What is a function at run time? One object for each function, shared by everything that invokes it.

    opened.py   its target, and one way to invoke it
    telling.py  what is told of a mapping's invocations
    gate.py     how many invocations run at once, and which one is next in line
    room.py     how many batches are in hand for it, so that no more are fetched than it can take
    health.py   does it take batches?  One mapping's view

Belongs here: what does not depend on where a batch comes from.
Does not belong here: how a function is reached (targets/), what becomes of a batch (core/), when a batch is tried again
(engine/).
Only engine/ and the composition root import it.  It waits through anyio alone.
"""
