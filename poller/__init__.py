"""AWS Lambda's event source mapping as a daemon of your own.

poller reads SQS queues, Kinesis shards and DynamoDB streams, forms batches in order, invokes functions wherever they
run, and deals with failure as Lambda does.
It is one process, configured by one TOML file and watched through Prometheus.

How the code lies, top to bottom; imports point upwards only, and a contract in the gate keeps it so:

    errors.py    the exceptions, drawn as a tree
    disclosure.py  what may be shown of an error
    model/       THE NOUNS      frozen values
    core/        THE DECISIONS  pure: no I/O, no clock, no randomness of its own; each file answers one question
      queues/    delivery, ordering, scaling, visibility
      streams/   retry, watermark, lineage, lanes, tumbling windows, positions
    ports.py     THE SEAMS      what the engine asks of the outside world
    facts/       THE FACTS      one class for each fact
    telemetry/   facts -> log and Prometheus
    http/        the fast HTTP/1.1 client: knows nothing of AWS
    aws/         THE CLIENTS    the only importer of aiobotocore and botocore
    settings/    THE FILE       TOML, or a request of AWS Lambda's API -> Settings
    sources/     what is read   } adapters: none knows another
    targets/     functions      }
    destinations/ discards      }
    stores/      positions      }
    functions/   what a function is at run time, and one way to invoke it
    engine/      THE WAITING    structured tasks that ask core and call ports
    admin/       the HTTP server: metrics, health, readiness
    app.py       from the settings to the exit code
    reloading.py       SIGHUP and `poller reload`: the file is read again
    running.py         the mappings and functions that run, and how they are changed
    composition.py     the composition root: the only place that knows the concrete classes
    descriptors.py     how many open files the process may have
    process_memory.py  who may read the process's memory
    demo/        the guided tour, on an embedded emulator
    examples/    handlers to copy from
    cli/         poller run | check | reload | state | reference | demo

To follow a message with a finger, begin at `engine/queues/mapping.py`; a stream's record, at `engine/streams/shard.py`.
"""

__version__ = "0.1.0"
