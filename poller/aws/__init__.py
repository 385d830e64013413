"""THE CLIENTS: how the program talks to AWS, or to an emulator. The only importer of aiobotocore and botocore.

There are two kinds of clients.
The general client is aiobotocore's. It serves rare calls.
The fast client serves frequent calls. It takes region, endpoint, protocol and credentials from aiobotocore, but signs
and sends the request itself, and returns the answer's JSON unchanged. It needs about a tenth of the general client's
CPU (tests/bench/clients.py).

    clients.py      makes the clients, and owns what they share
    identity.py     finds and renews the credentials that sign a request
    signing.py      computes a signature (Signature Version 4)
    wire.py         signs a request, sends it, and returns its answer
    clock.py        knows the time of an endpoint's clock
    json_client.py  the fast client of a JSON service: SQS, Kinesis, DynamoDB Streams
    invoker.py      the fast client of Lambda's Invoke API
    bounded_session.py  limits how much of an answer the general client reads
    kept_client.py  keeps a general client open between calls
    errors.py       translates AWS's errors into those of `poller.errors`, in the only such table

Does not belong here: what a call is for (sources/, targets/, destinations/), when to try again (engine/).
sources/, targets/, destinations/ and the composition root may import this package. It raises no error of a library.
"""
