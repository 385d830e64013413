"""A custom runtime: it serves one invocation, and then exits or, with an argument, stays."""

import http.client
import os
import signal
import sys

PREFIX = "/2018-06-01/runtime/invocation/"

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("GET", PREFIX + "next")
event = connection.getresponse()
event.read()
connection.request("POST", f"{PREFIX}{event.headers['Lambda-Runtime-Aws-Request-Id']}/response", b'"done"')
connection.getresponse().read()
if sys.argv[1:]:
    signal.pause()
