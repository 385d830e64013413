"""What is a function at run time? One object for each function, shared by everything that invokes it.

    opened.py    an open function has a target and one way to invoke it
    telling.py   reports a mapping's invocations as facts
    capacity.py  keeps the gate and the room of a function while the function is replaced
    units.py     uses the units of a limit that several workers share
    gate.py      limits how many invocations run at once; further ones wait
    calling.py   decides whether a client's call runs, waits or is refused
    room.py      counts the batches in hand, so that mappings fetch no more than the function can take
    health.py    tells a mapping whether its function takes batches

Belongs here: code for batches of any source.
Does not belong here: how a function is reached (targets/), what happens to a batch (core/), when a batch is tried again
(engine/).
This package uses only anyio to wait.
"""
