"""TARGETS: adapters by which functions are reached, one module for each way.

    lambda_api  AWS Lambda's Invoke API
    http        any HTTP service, and the Runtime Interface Emulator
    runtime     child processes that speak the Lambda Runtime API

What they share: client_context.py (what a function may know of the mapping that invokes it), failures.py (AWS's error
documents), endpoints.py
(a pool of urls).

Belongs here: how a call is made, and which kind of `model.invocation.Response` came back.
Does not belong here: what a response means to the records (core/outcome.py), when to call again (engine/).
Only composition.py imports an adapter; no adapter knows another.
"""
