"""The command line: `poller run | check | reload | state | reference | demo`.

    commands     run, check, demo: they read the file, tell what is wrong with it, and hand on what is right
    reloading    reload: the running daemon reads its file again
    reference    reference metrics, reference log: what the daemon counts and logs
    state        state show, set, rename: what a person sees of the stored positions, and moves
    positions    how a position is written on the command line
    moving       what a move of stored positions would change
    tables       how stored positions are laid out, for people and for programs
    ending       with what a command ends, and what is said of a failure

Belongs here: what is said to a person, in which words, and the exit codes.
Does not belong here: decisions.
What a command needs is imported when it runs, so that `poller check` works where the rest does not.
"""

from __future__ import annotations

from poller.cli.commands import app, main

__all__ = ["app", "main"]
