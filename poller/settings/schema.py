"""How can an editor complete and check the file? With a JSON Schema: keys, types, ranges, each option's explanation.

taplo, and so the extension "Even Better TOML", finds the schema by the line `#:schema ./poller.schema.json` at the top
of the TOML file.
The schema checks single values and required options. Only `poller check` checks the rules between options.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from poller.settings.file import FileOptions
from poller.settings.functions import KINDS


def json_schema() -> dict[str, Any]:
    schema = FileOptions.model_json_schema(schema_generator=_EditorSchema)
    tables = schema["$defs"]
    tables["FunctionOptions"]["oneOf"] = [{"required": [kind]} for kind in KINDS]
    tables["MappingOptions"]["required"] = ["event_source_arn", "function_name"]
    for key in ("functions", "mappings"):
        schema["properties"][key]["additionalProperties"] = False
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


class _EditorSchema(GenerateJsonSchema):
    """Makes schemas without null, because TOML has none, without the default None, and without titles."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
