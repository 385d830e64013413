"""AWS Lambda's event source mapping as a daemon of your own.

poller reads SQS queues, Kinesis shards and DynamoDB streams, forms batches in order, invokes functions wherever they
run, and deals with failure as Lambda does.
It is configured by one TOML file and watched through Prometheus. It is one process, or several workers under a parent.

The parts, from the bottom layer to the command line.
A part imports only from parts above its own line, and a contract in the gate checks it.

    errors.py    the exceptions, drawn as a tree
    disclosure.py  which text of an error may be shown
    boot_clock.py      the clock that leases are measured with
    process_memory.py  who may read the process's memory
    zombies.py         who reads the exit status of a process whose parent has ended
    model/       THE NOUNS      frozen values
    garbage.py         when the garbage of runs that have ended is collected
    core/        THE DECISIONS  pure: no I/O, no clock, no randomness of its own; each file answers one question
      filtering/ whether a record matches a filter, and why
      queues/    delivery, ordering, scaling, visibility
      streams/   retry, watermark, lineage, lanes, tumbling windows, positions
      events/    attempts, records, dead letters and senders of asynchronous events
      leases/    which worker may read a shard, and until when
    ports.py     THE SEAMS      the interfaces between the engine and the outside world
    facts/       THE FACTS      one class for each fact
    http/        the fast HTTP/1.1 client; it knows nothing of AWS
    sqlite/      how a SQLite file of poller is opened and written; it does not know what is stored
    telemetry/   facts -> log and Prometheus
    tracing/     calls of the ports -> spans of OpenTelemetry
    aws/         THE CLIENTS    the only importer of aiobotocore; of botocore, together with examples/
    functions/   what a function is at run time, and one way to invoke it
    settings/    THE FILE       TOML, or a request of AWS Lambda's API -> Settings
    sources/     queues, streams } adapters: none knows another
    targets/     functions       }
    destinations/ discards       }
    stores/      positions       }
    event_queues/ events         }
    engine/      THE WAITING    structured tasks that ask core/ for decisions and call the ports
    admin/       the HTTP server: metrics, health, readiness
    descriptors.py     how many open files the process may have
    lambda_api/  the server of AWS Lambda's own API
    composition/ the composition root: the only part of the daemon that knows the concrete classes
    running.py         the mappings and functions that run, and how they are changed
    reloading.py       SIGHUP and `poller reload`: reads the file again
    requested_changes.py  what the daemon does when a client asks for a change
    workers/     several processes as one daemon
    app.py       the daemon, from the settings to the exit code
    single_call.py     `poller invoke` without a daemon: one function, called once
    live_checks/       `poller check --live`: asks AWS what the settings alone cannot tell
    tailing.py         `poller tail`: follows a stream, or looks at a queue, without a daemon
    demo/        the guided tour, on an embedded emulator
    examples/    handlers to copy from
    cli/         poller run | check | reload | invoke | status | pause | resume | shard | state | events | explain |
                 try | tail | import | iam | reference | demo

To follow one message through the code, begin at `engine/queues/mapping.py`.
To follow one record of a stream, begin at `engine/streams/shard.py`.
To follow one asynchronous event, begin at `engine/events/mapping.py`.
"""

__version__ = "0.1.0"
