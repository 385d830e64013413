"""The rules for SQS queues.

    attributes    do the attributes of a queue suit its mapping?
    delivery      what happens to the messages of a batch until they are deleted or visible again?
    in_hand       until when is a message in hand hidden?
    ordering      which messages may be in two invocations at the same time?
    peeking       may a person look at the messages of a queue?
    redelivery    when is a failed message visible again?
    scaling       how many polls may run, and how many batches may be in hand?
    visibility    how long is the visibility timeout of a receive?

All functions are pure, as everywhere in `core/`. `core/queues/`, `core/streams/`, `core/events/` and `core/leases/` do
not import each other.
"""
