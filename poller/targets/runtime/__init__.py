"""Functions as child processes of the daemon that speak the Lambda Runtime API.

Belongs here: starting, feeding, timing, watching and ending such processes.
Does not belong here: what an answer means for a batch (core/outcome.py), how many batches run at once (engine/).
Other packages of poller import only `RuntimeTarget`.

    target.py        which child process runs an invocation?
    child.py         how does one child begin and end?
    launching.py     how is a child started, so that it cannot outlive the daemon?
    api.py           what does a child see of the Runtime API?
    sessions.py      which processes belong to a child?
    peer.py          does a connection come from that child?
    memory.py        which children use more memory than they may?
    environment.py   which environment variables does a child get?
    output.py        how does a child's output become log lines?
    output_limit.py  how much of a function's output is logged?
    recent_output.py which lines did the children of a function write last?
    log_tail.py      which text is the log tail of an invocation?
    bootstrap.py     the program of a child process that runs a Python callable
"""

from poller.targets.runtime.target import RuntimeTarget

__all__ = ["RuntimeTarget"]
