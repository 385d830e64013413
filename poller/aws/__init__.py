"""THE CLIENTS: how the program talks to AWS, or to an emulator. The only importer of aiobotocore and botocore.

There are two kinds of clients.
The general client is aiobotocore's, for calls that are rare.
The fast client serves the calls that run all day: it takes region, endpoint, protocol and credentials from aiobotocore,
but it signs and sends the request itself and leaves the answer as the wire's JSON, for about a tenth of the CPU
(tests/bench/clients.py).

    clients.py      makes clients: region, endpoint and credentials of each; owns what the clients share
    identity.py     which credentials sign a request, and when are they renewed?
    signing.py      what is the signature? Signature Version 4
    wire.py         how does a signed request go out and its answer come back?
    clock.py        what time does an endpoint's clock show?
    json_client.py  the fast client of a JSON service: SQS, Kinesis, DynamoDB Streams
    invoker.py      the fast client of Lambda's Invoke API
    bounded_session.py  how much of an answer does the general client read?
    kept_client.py  how is a general client kept open?
    errors.py       which error of ours does an error of AWS become? the only table of them

Does not belong here: what a call is for (sources/, targets/, destinations/), when to try again (engine/).
Who may import it: sources/, targets/, destinations/ and the composition root. Nothing foreign is raised out of here.
"""
