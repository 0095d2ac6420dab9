"""Structured output: a reply in the form of a JSON schema that the request asks for.

Documented: with `output_config.format` the reply is one text block of JSON that fits the schema. With a `tool_choice` of
type `any` or `tool` the reply uses a tool. A responder knows nothing of schemas, so where its reply does not fit, the
smallest instance that does takes its place: required properties only, empty texts and lists, zeros, the first of an enum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from memory_demo.offline.prompt import Reply

Schema = Mapping[str, Any]

_DEPTHS = (3, 6, 9, 12)
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "a@b.invalid",
    "hostname": "offline.invalid",
    "ipv4": "0.0.0.0",
    "ipv6": "::",
    "uri": "https://offline.invalid",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


class NoInstance(ValueError):
    """No instance was found that fits a schema."""


def fitted(reply: Reply, request: Mapping[str, Any]) -> Reply:
    """The reply in the form that the request asks for. Raises NoInstance."""
    if reply.stop_reason is not None:
        return reply
    uses_tool = any(block["type"] == "tool_use" for block in reply.content)
    tool = _forced_tool(request)
    if tool is not None and not uses_tool:
        use = {"type": "tool_use", "name": tool["name"], "input": smallest(tool.get("input_schema") or {})}
        return replace(reply, content=(*reply.content, use))
    schema = _schema(request)
    if schema is None or uses_tool:
        return reply
    text = "".join(block["text"] for block in reply.content if block["type"] == "text")
    if not _fits(text, schema):
        text = json.dumps(smallest(schema), ensure_ascii=False)
    return replace(reply, content=({"type": "text", "text": text},))


def smallest(schema: Schema | bool) -> Any:
    """The smallest JSON value that fits a schema. Raises NoInstance."""
    root = schema if isinstance(schema, Mapping) else {}
    for levels in _DEPTHS:
        for instance in sorted(_instances(schema, root, levels), key=_size):
            if _validator(schema).is_valid(instance):
                return instance
    raise NoInstance("the offline stand-in found no JSON value that fits the schema")


def _schema(request: Mapping[str, Any]) -> Schema | None:
    wanted = (request.get("output_config") or {}).get("format") or request.get("output_format")
    return wanted["schema"] if wanted else None


def _forced_tool(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choice = request.get("tool_choice") or {}
    tools: Sequence[Mapping[str, Any]] = [
        tool for tool in request.get("tools") or () if "input_schema" in tool
    ]
    if choice.get("type") == "any":
        return next(iter(tools), None)
    if choice.get("type") == "tool":
        return next((tool for tool in tools if tool["name"] == choice["name"]), None)
    return None


def _fits(text: str, schema: Schema) -> bool:
    try:
        return bool(_validator(schema).is_valid(json.loads(text)))
    except ValueError:
        return False


def _validator(schema: Schema | bool) -> Any:
    import jsonschema  # takes more than a second, and most requests have no schema

    return jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)(schema)


def _instances(schema: Schema | bool, root: Schema, levels: int) -> list[Any]:
    """Small values that may fit, one for each way to read the schema; none that nest beyond so many levels."""
    if levels < 0 or schema is False:
        return []
    if schema is True:
        return [None]
    if "$ref" in schema:
        return _instances(_resolved(schema["$ref"], root), root, levels - 1)
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return list(schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            rest = {key: value for key, value in schema.items() if key != word}
            merged = [_merged(rest, option, root) for option in schema[word]]
            return [instance for option in merged for instance in _instances(option, root, levels - 1)]
    if "allOf" in schema:
        whole: Schema | bool = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            whole = _merged(whole, part, root) if isinstance(whole, Mapping) else whole
        return _instances(whole, root, levels - 1)
    types = schema.get("type") or ("object" if "properties" in schema else "null")
    names = [types] if isinstance(types, str) else types
    return [instance for name in names for instance in _of_type(name, schema, root, levels)]


def _of_type(name: str, schema: Schema, root: Schema, levels: int) -> list[Any]:
    if name == "object":
        return _objects(schema, root, levels)
    if name == "array":
        return _arrays(schema, root, levels)
    if name == "string":
        return [_FORMATS.get(schema.get("format", ""), "x" * schema.get("minLength", 0))]
    if name in ("integer", "number"):
        return [_number(schema)]
    return [False] if name == "boolean" else [None]


def _objects(schema: Schema, root: Schema, levels: int) -> list[Any]:
    made: dict[str, Any] = {}
    for key in schema.get("required") or ():
        values = _instances((schema.get("properties") or {}).get(key, True), root, levels - 1)
        if not values:
            return []
        made[key] = min(values, key=_size)
    return [made]


def _arrays(schema: Schema, root: Schema, levels: int) -> list[Any]:
    count = schema.get("minItems", 0)
    parts = [*schema.get("prefixItems", ()), *[schema.get("items", True)] * count][:count]
    values = [_instances(part, root, levels - 1) for part in parts]
    return [[min(options, key=_size) for options in values]] if all(values) else []


def _number(schema: Schema) -> int | float:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 0))
    start = low if low > 0 else min(high, 0)
    value = -(-start // step) * step if start > 0 else start // step * step
    if value == schema.get("exclusiveMinimum"):
        value += step
    if value == schema.get("exclusiveMaximum"):
        value -= step
    return int(value) if value == int(value) else float(value)


def _merged(first: Schema, second: Schema | bool, root: Schema) -> Schema | bool:
    """A schema that asks for what both ask for."""
    if isinstance(second, bool):
        return first if second else False
    if "$ref" in second:
        rest = {key: value for key, value in second.items() if key != "$ref"}
        resolved = _resolved(second["$ref"], root)
        second = {**(resolved if isinstance(resolved, Mapping) else {}), **rest}
    properties = {**(first.get("properties") or {}), **(second.get("properties") or {})}
    required = list(dict.fromkeys([*(first.get("required") or ()), *(second.get("required") or ())]))
    both = {**first, **second}
    return {
        **both,
        **({"properties": properties} if properties else {}),
        **({"required": required} if required else {}),
    }


def _resolved(reference: str, root: Schema) -> Schema | bool:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        found = found.get(key, {}) if key else found
    schema: Schema | bool = found
    return schema


def _size(value: Any) -> int:
    return len(json.dumps(value))
