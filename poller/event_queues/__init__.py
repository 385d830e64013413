"""EVENT QUEUES: adapters that store asynchronous events until their functions and destinations are done with them.

    embedded    stores events in a SQLite file, which several processes of one host may share
      waking    decides when a waiting take looks for events again
      jobs      does a group of jobs in one transaction, and limits the size of the file
      rows      reads and writes events in the file
      schema    defines the tables, and opens the file
      remembered  remembers the SQS queues of functions, so that former queues are still read
      by_hand   shows and changes the events for a person
      by_request  lists, retries and drops the stuck events for a client of the daemon
    on_demand   opens a queue at its first call
    sqs         stores events in an SQS standard queue, which daemons on many hosts may share
      deleting  deletes many messages with few requests
      messages  converts events to and from SQS messages
    notation    converts parts of an event to and from JSON

Belongs here: how events are stored and claimed, and how many are allowed.
Does not belong here: when an event is taken, invoked or ended (engine/, core/).
No adapter knows another.
"""
