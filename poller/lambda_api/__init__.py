"""LAMBDA'S API: an HTTP server that AWS's SDKs and command line call as they call AWS Lambda.

    server.py        the server: which requests are refused before anything is done for them
    signatures.py    who sent a request? AWS's Signature Version 4 is verified
    exchange.py      a request and an answer, without HTTP
    routes.py        which call is a request?
    names.py         which function does a request name?
    invoking.py      the calls that invoke a function
    event_stream.py  how is an answer framed for a client that reads it as a stream?
    describing.py    the calls that describe functions, from the settings file
    errors.py        which error does a client get?

Belongs here: AWS's names, messages, status codes and headers, to the letter.
Does not belong here: how a function is invoked (functions/), what becomes of an asynchronous event (engine/events/).
Who imports it: app.py, api_composition.py, single_call.py and the command line.
It shares admin's connections, hosts and guard.

Source: AWS Lambda API Reference.
"""
