"""LAMBDA'S API: an HTTP server that AWS's SDKs and command line call as they call AWS Lambda.

    server.py        the HTTP server: reads a request, refuses or accepts it, and sends the answer
    signatures.py    verifies AWS's Signature Version 4
    exchange.py      a request and an answer, without HTTP
    routes.py        finds the call that a request makes
    names.py         finds the function that a request names
    invoking.py      the calls that invoke a function
    event_stream.py  writes an answer for a client that reads a stream
    describing.py    the calls that describe functions, from the settings file
    errors.py        the errors that clients get

Belongs here: AWS's names, messages, status codes and headers, exactly as AWS writes them.
Does not belong here: how a function is invoked (functions/), when an event is tried again (core/events/).
It uses the modules for connections, addresses, host names and refused requests in admin/.

Source: AWS Lambda API Reference.
"""
