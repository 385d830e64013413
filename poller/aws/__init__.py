"""THE CLIENTS: how the program talks to AWS, or to an emulator. The only importer of aiobotocore.

There are two kinds of clients.
The general client is a client of aiobotocore. It serves rare calls.
The fast client serves frequent calls. It takes region, endpoint, protocol and credentials from aiobotocore, but it
signs and sends the request itself, and returns the answer's JSON unchanged. It uses about a tenth of the CPU time of
the general client (tests/bench/clients.py).

    clients.py      makes the clients, and owns what they share
    identity.py     finds and renews the credentials that sign a request
    credential_process.py  kills the credential process of a profile if the search for credentials is cancelled
    signing.py      computes a signature (Signature Version 4)
    wire.py         signs a request, sends it, and returns its answer
    clock.py        knows the time of an endpoint's clock
    json_client.py  the fast client of a JSON service: SQS, Kinesis, DynamoDB and its streams
    invoker.py      the fast client of Lambda's Invoke API
    bounded_session.py  limits how much of an answer the general client reads
    kept_client.py  keeps a general client open between calls
    errors.py       translates AWS's errors into errors of `poller.errors`, by one table

Belongs here: credentials, signing, endpoints, and the translation of AWS's errors. No function of this package raises
an error of aiobotocore or botocore.
Does not belong here: what a call is for (sources/, targets/, destinations/), when to try again (engine/).
"""
