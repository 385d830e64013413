"""DESTINATIONS: adapters that send documents to a service, one module for each service.

    sqs, sns    a message of a standard queue or topic: the document
    s3          an object: the document and the event
    messages    how large a message may be
    client      what they ask of aws/

Belongs here: how a document is sent, how large it may be, and for how long an answer is waited for.
Does not belong here: what a document says (core/invocation_record.py); when to send it, and what to do while the
service does not accept it (engine/); credentials and the translation of errors (aws/).
A new destination is a module here, the shape of its ARN in settings/fields.py, and a case in composition.py.
Only composition.py imports an adapter; no adapter knows another.
"""
