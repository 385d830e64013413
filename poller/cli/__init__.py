"""The command line. `poller --help` lists the commands.

    commands     run, check, demo: read the settings, show their faults, and call the program
    daemon       how a command asks the running daemon
    status       status: show the state of each mapping
    reloading    reload: ask the running daemon to read its file again
    pausing      pause, resume: ask the running daemon to pause a mapping, or to end a pause
    ordering     shard: ask the running daemon to retry, bisect or discard the batch that blocks a shard
    invoking     invoke: call a function through the running daemon, or without one
    explaining   explain: say what a mapping would do with a record
    first_event  the event that a mapping's function would get first for some records
    trying       try: invoke the function once with a record, and say what its answer means
    tailing      tail: show the records of a source as they come
    records      which records a file holds that a person gives to explain or try
    importing    import: print a settings file for the mappings of AWS Lambda
    account      what AWS tells about the mappings of one region
    iam          iam: print the permissions that the settings need
    reference    reference metrics, log, parity: list what the daemon counts and logs, and how it compares to AWS Lambda
    parity       what poller does with each parameter of AWS Lambda's API, and where it differs
    state        state show, set, rename: show, move and rename stored positions
    moving       state set while a daemon runs: the daemon moves the positions
    copying      state copy: copy them from another state
    copying_kcl  state copy --mapping: copy those of one mapping from or into its table of a KCL application
    opened_state how a command reaches the state
    workers      how the workers and the units are shown
    events       events list, show, retry, drop, forget: show, retry and remove the asynchronous events that are stored
    changed_events  events retry, drop: who changes the file of events
    change_log   where a change is logged that a command makes without a daemon
    samples      the sample events of `poller invoke`
    times        how a time is shown to a person
    tables       how stored positions are shown to people and to programs
    printing     how a table is printed
    as_json      how a command answers a program
    ending       exit codes, and the messages of failures

Belongs here: the messages to a person, and the exit codes.
Does not belong here: decisions.
`run` and `demo` import their modules only when they run, so `poller check` works on a machine without these modules.
"""

from __future__ import annotations

from poller.cli.commands import app, main

__all__ = ["app", "main"]
