"""The rules for asynchronous events: what happens to an event after an attempt, and what its destinations receive.

    attempts     does the function get the event, and when is the event tried again?
    deliveries   when is the record of an ended event sent again, and when does the daemon stop trying?
    record       what does a destination receive about an ended event?
    dead_letter  what does the dead-letter queue receive?
    senders      which event does the message of S3, SNS or EventBridge become?
    queue_rules  may the events of a function wait in this SQS queue?
    trace        which trace header does the function receive, and is the event in a loop?

All functions are pure, as everywhere in `core/`. `core/queues/`, `core/streams/`, `core/events/` and `core/leases/` do
not import each other.
"""
