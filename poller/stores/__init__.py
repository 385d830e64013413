"""STORES: where stream positions and pauses live, one module for each way to keep them.

    memory         a dict, which ends with the process
    sqlite         a file that survives whatever the process dies of
    writer         how many saves share one flush
    rows           how a checkpoint looks in the file
    pauses         which mappings are paused
    schema         the file's tables, and the migration from the format before
    sqlite_file    how the file is opened
    ownership      which process owns the file?
    by_hand        what a person may do to the file while the daemon is stopped
    notation       how positions are written down, and which of two is further

Belongs here: how checkpoints are kept, and the rule that none moves back.
Does not belong here: when to save and what is done with (engine/, core/streams/watermark.py).
Only composition.py and the command line import a store; no adapter knows another.
"""
