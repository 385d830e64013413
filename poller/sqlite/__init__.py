"""SQLITE: how this program opens and writes its SQLite files.

    kind      opens a file, and tells what is wrong with it
    copies    keeps a copy of a file before its format changes
    writer    does all work with an open file in one thread, many jobs with one flush

Belongs here: how a file is opened, checked, copied and written, whatever it stores.
Does not belong here: which tables and rows it has (stores/, event_queues/).
"""
