"""DESTINATIONS: adapters that report the records which a mapping gave up, one module for each service.

    sqs, sns    the failure record as a message of a standard queue or topic
    s3          an object with the failure record and the event
    client      what they ask of aws/

Belongs here: how an invocation record is sent, and for how long an answer is waited for.
Does not belong here: what an invocation record says (core/invocation_record.py), when to
report, and what to do while nobody takes it (engine/); credentials and the translation of errors (aws/).
Only composition.py imports an adapter; no adapter knows another.
"""
