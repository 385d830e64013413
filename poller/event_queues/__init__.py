"""EVENT QUEUES: adapters that store asynchronous events until their functions and destinations are done with them.

    embedded    stores them in a SQLite file, which several processes of one host may share
      waking    knows when a take that waits looks for events again
      jobs      does a group of jobs with the file in one transaction, within the file's bounds
      rows      reads and writes events in the file
      schema    has the file's tables, and opens the file
      by_hand   shows and changes the file for a person
    on_demand   opens a queue at its first call
    sqs         stores them in an SQS standard queue, for the daemons of many hosts
      messages  writes an event as an SQS message
    notation    writes parts of an event as JSON

Belongs here: how events are stored, claimed and bounded.
Does not belong here: when to take an event, and what becomes of it (engine/, core/).
Only event_composition.py and the command line import an adapter; no adapter knows another.
"""
