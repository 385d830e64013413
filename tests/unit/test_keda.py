"""Does KEDA understand the example in deploy/, and does the daemon answer what the example asks for?"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import yaml

from poller.model.backlog import Backlog

EXAMPLE = Path(__file__).parents[2] / "deploy" / "keda.yaml"

TEXT = {"type": "string", "minLength": 1}
SCALED_OBJECT = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "spec": {
            "type": "object",
            "required": ["scaleTargetRef", "triggers"],
            "additionalProperties": False,
            "properties": {
                "scaleTargetRef": {"type": "object", "required": ["name"], "properties": {"name": TEXT}},
                "minReplicaCount": {"type": "integer", "minimum": 1},
                "maxReplicaCount": {"type": "integer", "minimum": 1},
                "pollingInterval": {"type": "integer", "minimum": 1},
                "advanced": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"horizontalPodAutoscalerConfig": {"type": "object", "required": ["behavior"]}},
                },
                "triggers": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "metadata"],
                        "additionalProperties": False,
                        "properties": {
                            "type": {"const": "metrics-api"},
                            "metadata": {
                                "type": "object",
                                "required": ["url", "valueLocation", "targetValue"],
                                "additionalProperties": False,
                                "properties": {
                                    "url": {"pattern": r"^http://\w+(\.[a-z-]+){4}:9464/api/scaling"},
                                    "valueLocation": {"enum": list(Backlog._fields)},
                                    "targetValue": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
                                    "aggregateFromKubeServiceEndpoints": {"enum": ["true", "false"]},
                                    "aggregationType": {"enum": ["average", "sum", "max", "min"]},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The parts of KEDA's ScaledObject that the example uses. KEDA wants every value of a trigger as text.

Source: KEDA, "ScaledObject specification" and "Metrics API" scaler.
"""

RIGHT_AGGREGATION = {"seconds_to_catch_up": "sum", "shards": "sum", "messages_waiting": "max"}


def test_keda_understands_its_example_and_asks_each_worker_for_numbers_that_the_daemon_has() -> None:
    documents = {each["kind"]: each for each in yaml.safe_load_all(EXAMPLE.read_text())}
    service, scaled = documents["Service"], documents["ScaledObject"]
    jsonschema.validate(scaled, SCALED_OBJECT)
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert {trigger["valueLocation"] for trigger in triggers} == {"seconds_to_catch_up", "messages_waiting"}
    for trigger in triggers:
        host, _, port = urlsplit(trigger["url"]).netloc.partition(":")
        assert host.split(".")[:2] == [service["metadata"]["name"], service["metadata"]["namespace"]]
        assert int(port) == service["spec"]["ports"][0]["targetPort"]
        assert trigger["aggregateFromKubeServiceEndpoints"] == "true"
        assert trigger["aggregationType"] == RIGHT_AGGREGATION[trigger["valueLocation"]]
