"""TARGETS: the adapters that invoke functions, one for each kind of function.

    lambda_api  AWS Lambda's Invoke API
    http        any HTTP service, and the Runtime Interface Emulator
    runtime     child processes that speak the Lambda Runtime API

They share client_context.py (what a function learns about its invocation) and failures.py (AWS's error documents).
endpoints.py chooses among the urls of an HTTP function, and http_answers.py says what its answer means.

Belongs here: how a function is called, and which kind of `model.invocation.Response` its answer is.
Does not belong here: what a response means for the records (core/outcome.py), when to call again (engine/).
No adapter knows another.
"""
