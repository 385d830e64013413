"""SOURCES: adapters that read what a mapping is bound to, one module for each service.

    sqs                queues; `receive_attempts` has the attempt ids of FIFO receives
    kinesis            shards; `kinesis_cursor` finds where the next read begins
    dynamodb_streams   shards
    pacing             how fast may shards be listed?
    client             what a source asks of aws/
    answers            how an answer is parsed, or refused

Belongs here: how a service's calls look, what its answers mean to `ports.py`, and how often it may be asked.
Does not belong here: when to read, how much, and what becomes of a record (engine/, core/); signing, endpoints and the
translation of errors (aws/).
Only composition.py imports an adapter; no adapter knows another.
"""
