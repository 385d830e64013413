"""THE DOOR: how the program talks to AWS, or to whatever answers in its place. The only importer of aiobotocore.

Two doors. The wide one is aiobotocore's client, for everything rare. The narrow one serves the calls that run all day:
it takes region, endpoint, protocol and credentials from aiobotocore, but signs and sends the request itself and leaves
the answer as the wire's JSON, for about a tenth of the CPU (tests/bench/door.py).

    door.py         which services may be asked, where, and as whom; owns what the others share
    identity.py     which credentials sign a request, and when are they renewed?
    signing.py      what is the signature? Signature Version 4
    wire.py         how does a signed request go out and its answer come back?
    clock.py        what time does an endpoint's clock show?
    pool.py         which connection carries a request?
    http1.py        how does one connection carry a request and its answer?
    keep_alive.py   how does a connection stay open while its answer takes hours?
    proxied.py      how does a request go out through a proxy? by aiohttp
    json_caller.py  the narrow door to a JSON service: SQS, Kinesis, DynamoDB Streams
    invoker.py      the narrow door to Lambda's Invoke API
    bounded_session.py  how much of an answer does the wide door read?
    kept_client.py  how is a client of the wide door kept open?
    refusals.py     what does a refusal mean to us? the one table from AWS's errors to ours

Does not belong here: what a call is for (sources/, targets/, destinations/), when to try again (engine/).
Who may import it: sources/, targets/, destinations/ and the composition root. Nothing foreign is raised out of here.
"""
