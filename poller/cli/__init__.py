"""The command line: `poller run | check | reload | invoke | state | events | reference | demo`.

    commands     run, check, demo: read the settings, show their faults, and call the program
    reloading    reload: ask the running daemon to read its file again
    ordering     shard: ask the running daemon to retry, bisect or discard the batch that blocks a shard
    invoking     invoke: call a function through the running daemon, or without one
    reference    reference metrics, reference log: list what the daemon counts and logs
    state        state show, set, rename: show, move and rename stored positions
    copying      state copy: copy them from another state
    opened_state how a command reaches the state
    workers      how the workers and the units are shown
    events       events list, show, retry, drop: show, retry and remove the asynchronous events that are stored
    samples      the sample events of `poller invoke`
    times        how a time is shown to a person
    positions    how a person writes a position on the command line
    moving       what a move of stored positions changes, and which records are then delivered again or skipped
    tables       how stored positions are shown to people and to programs
    printing     how a table is printed
    ending       exit codes, and the messages of failures

Belongs here: the messages to a person, and the exit codes.
Does not belong here: decisions.
`run` and `demo` import their modules only when they run, so `poller check` works on a machine without these modules.
"""

from __future__ import annotations

from poller.cli.commands import app, main

__all__ = ["app", "main"]
