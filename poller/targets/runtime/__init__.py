"""Functions as child processes of the daemon that speak the Lambda Runtime API.

Belongs here: to start, feed, time, watch and end such processes.
Does not belong here: what an answer means for a batch (core/outcome.py), how many run at once (the engine's permits).
Only the composition root imports it, and of it only `RuntimeTarget`.

    target.py        which child runs an invocation?
    child.py         how does one child live and die?
    api.py           what does a child see of the Runtime API?
    sessions.py      which processes belong to a child?
    peer.py          does a connection come from that child?
    memory.py        which children use more memory than they may?
    environment.py   what does a child find in its environment?
    output.py        how do a child's bytes become lines?
    output_limit.py  how much of a function's output is logged?
    bootstrap.py     the child's own side for Python callables: a file that stands alone, run by path
"""

from poller.targets.runtime.target import RuntimeTarget

__all__ = ["RuntimeTarget"]
