"""Structured output: what the SDK's `parse` and pydantic-ai's `output_type` get from the stand-in."""

import json
from datetime import date
from enum import Enum
from typing import Any, Literal

import anthropic
import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from memory_demo.offline import Reply, offline_async_client, offline_client
from memory_demo.offline.structured_output import NoInstance, smallest

MODEL = "claude-sonnet-5-5"
HELLO = [{"role": "user", "content": "What is the capital of France?"}]


class Severity(Enum):
    HIGH = "high"
    LOW = "low"


class Finding(pydantic.BaseModel):
    line: int
    severity: Severity
    kind: Literal["race", "injection"]
    found: date
    note: str | None
    related: list[str]


class Review(pydantic.BaseModel):
    summary: str
    findings: list[Finding]
    worst: Finding
    score: float


def prose(prompt):
    return Reply(({"type": "text", "text": "Paris, I think."},), thinking="Well.")


@pytest.mark.parametrize("how", ["parse", "stream"])
def test_parse_gives_an_instance(how):
    client = offline_client(prose, _strict_response_validation=True)
    request = {"model": MODEL, "max_tokens": 1000, "messages": HELLO, "output_format": Review}
    if how == "parse":
        message = client.beta.messages.parse(**request)
    else:
        with client.beta.messages.stream(**request) as stream:
            message = stream.get_final_message()
    review = message.parsed_output
    assert isinstance(review, Review)
    assert (review.findings, review.worst.related, review.score) == ([], [], 0)
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_the_older_field_is_the_same():
    """As recorded: `output_format` of a request to claude-sonnet-4-5, answered with one text block of JSON."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
        "required": ["city", "country"],
        "additionalProperties": False,
    }
    message = offline_client(prose).beta.messages.create(
        model="claude-haiku-4-5",
        max_tokens=100,
        messages=HELLO,
        betas=["structured-outputs-2025-11-13"],
        extra_body={"output_format": {"type": "json_schema", "schema": schema}},
    )
    assert [json.loads(block.text) for block in message.content] == [{"city": "", "country": ""}]


def test_a_reply_that_fits_is_left_as_it_is():
    text = '{"city": "Paris"}'
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    client = offline_client(lambda prompt: Reply(({"type": "text", "text": text},)))
    message = client.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=HELLO,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[-1].text == text


def test_a_tool_use_goes_before_the_form_of_the_answer():
    use = {"type": "tool_use", "name": "look", "input": {}}
    message = offline_client(lambda prompt: Reply((use,))).messages.create(
        model=MODEL,
        max_tokens=100,
        messages=HELLO,
        tools=[{"name": "look", "input_schema": {"type": "object"}}],
        output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}},
    )
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["thinking", "tool_use"]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "second"}])
def test_a_forced_tool_is_used(choice):
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    message = offline_client(prose).messages.create(
        model="claude-haiku-4-5",
        max_tokens=100,
        messages=HELLO,
        tools=[{"name": "first", "input_schema": schema}, {"name": "second", "input_schema": schema}],
        tool_choice=choice,
    )
    assert message.stop_reason == "tool_use"
    assert (message.content[-1].name, message.content[-1].input) == (choice.get("name", "first"), {"n": 3})


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (MODEL, Review),
        (MODEL, NativeOutput(Review)),
        ("claude-haiku-4-5", Review),
        ("claude-haiku-4-5", NativeOutput(Review)),
        # Where a tool can be forced; elsewhere it is the responder's choice.
        ("claude-haiku-4-5", ToolOutput(Review)),
    ],
    ids=["plain", "native", "plain, older", "native, older", "tool, older"],
)
def test_pydantic_ai_gets_its_output_type(model, output):
    provider = AnthropicProvider(anthropic_client=offline_async_client(prose))
    agent = Agent(AnthropicModel(model, provider=provider), output_type=output)
    assert isinstance(agent.run_sync("Review this.").output, Review)


CASES: list[tuple[Any, Any]] = [
    ({"type": "string"}, ""),
    ({"type": "string", "minLength": 3}, "xxx"),
    ({"type": "integer"}, 0),
    ({"type": "integer", "minimum": 3}, 3),
    ({"type": "integer", "exclusiveMinimum": 3}, 4),
    ({"type": "integer", "maximum": -5}, -5),
    ({"type": "integer", "minimum": 4, "multipleOf": 3}, 6),
    ({"type": "number", "minimum": 0.5, "maximum": 0.75, "multipleOf": 0.25}, 0.5),
    ({"type": "boolean"}, False),
    ({"type": "null"}, None),
    ({"type": ["null", "string"]}, ""),
    ({"enum": ["b", "a"]}, "b"),
    ({"const": {"a": 1}}, {"a": 1}),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
    ({"type": "object", "properties": {"a": {"type": "string"}}}, {}),
    ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "integer"}]}, 0),
    (
        {"allOf": [{"required": ["a"]}, {"properties": {"a": {"type": "integer"}}}], "type": "object"},
        {"a": 0},
    ),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, 0),
]


@pytest.mark.parametrize(("schema", "expected"), CASES, ids=lambda value: json.dumps(value)[:60])
def test_the_smallest_instance(schema, expected):
    assert smallest(schema) == expected


def test_a_recursive_schema_ends():
    tree = {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}},
                "required": ["next"],
            }
        },
    }
    assert smallest(tree) == {"next": None}
    endless = {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/a"}}}},
    }
    with pytest.raises(NoInstance):
        smallest(endless)


def test_a_schema_that_nothing_was_found_for_is_refused_in_our_own_words():
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^b+$"}}, "required": ["a"]}
    with pytest.raises(anthropic.BadRequestError, match="the offline stand-in found no JSON value"):
        offline_client(prose).messages.create(
            model=MODEL,
            max_tokens=100,
            messages=HELLO,
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )


leaves = st.one_of(
    st.builds(lambda n: {"type": "string", "minLength": n}, st.integers(0, 3)),
    st.builds(
        lambda low, room: {"type": "integer", "minimum": low, "maximum": low + room},
        st.integers(-5, 5),
        st.integers(0, 4),
    ),
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"enum": ["a", "b"]}, {"type": "string", "format": "date"}]
    ),
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda items, n: {"type": "array", "items": items, "minItems": n}, inner, st.integers(0, 2)
        ),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:2],
                "additionalProperties": False,
            },
            st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
        ),
    ),
    max_leaves=6,
)


@given(schemas)
@settings(max_examples=60, deadline=None)
def test_what_is_found_fits(schema):
    """The judge is jsonschema, on a validator of its own."""
    jsonschema.validate(smallest(schema), schema)
