"""DESTINATIONS: adapters that send documents to a service, one module for each service.

    sqs, sns         send the document as a message to a standard queue or topic
    s3               stores the document as an object in a bucket, with the event of a discarded batch
    eventbridge      sends the document to an event bus
    lambda_function  invokes a function of AWS Lambda asynchronously with the document
    function         puts the document into the event queue of a function of the same settings file
    messages         makes a message of a document, and rejects a document that is too large
    client           the protocol of the client that a destination uses; aws/ implements it

Belongs here: how a document is sent, how large it may be, and how long one try may take.
Does not belong here: the content of a document (core/); when to send it, and what to do while the service does not
accept it (engine/); credentials and the translation of errors (aws/).
A new destination is a module here, a row of `RECEIVERS` in settings/arns.py, and a case in `open_destination` of
composition/events.py. The tests then ask for a line in the table above, for the action in README.md, "Permissions", and
for two commands: `python -m tests.unit.settings.explained` writes config/poller.toml, and `poller reference parity
--markdown` prints the tables of README.md.
`poller check --live` says that it does not check the destination, until live_checks/destinations.py has a case for it.
No adapter knows another.
"""
