"""SOURCES: adapters that read queues and streams, one module for each service.

    sqs                reads queues; `receive_attempts` chooses the attempt ids of receives from FIFO queues
    kinesis            reads Kinesis streams; `kinesis_cursor` knows where in a shard the next read begins
    reader_identity    finds out which identity events of Kinesis name
    dynamodb_streams   reads the streams of DynamoDB tables
    pacing             limits how fast shards are listed
    client             the protocol of the client that a source uses; aws/ implements it
    answers            parses an answer, and rejects one that the service cannot have sent

Belongs here: the service's calls, how their answers become the values of `ports.py`, and the service's rate limits.
Does not belong here: when to read, how much, and what happens to a record (engine/, core/); signing, endpoints and the
translation of errors (aws/).
No adapter knows another.
"""
