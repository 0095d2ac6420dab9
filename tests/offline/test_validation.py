"""What the API rejects, through the SDK's client, in the API's wording."""

import copy
import json
from typing import get_args

import anthropic
import pytest
from anthropic.types import AnthropicBetaParam
from hypothesis import given
from hypothesis import strategies as st

from memory_demo.offline import OfflineAPI, Reply, client_for, offline_client

MODEL = "claude-sonnet-5-5"
OLD_MODEL = "claude-haiku-4-5"
BETA = "context-management-2025-06-27"
LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
CLEAR = {"type": "clear_tool_uses_20250919"}
USER = {"role": "user", "content": "Hello"}
SYSTEM = {"role": "system", "content": "Be brief."}
HOUR = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


def sdk_betas():
    return {name for member in get_args(AnthropicBetaParam) for name in get_args(member)}


def respond(prompt):
    return Reply(({"type": "text", "text": "Hi."},))


def call(*ids):
    blocks = [{"type": "tool_use", "id": id, "name": "look", "input": {}} for id in ids]
    return {"role": "assistant", "content": blocks}


def result(*ids):
    return {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": id, "content": "x"} for id in ids],
    }


def failed(content):
    block = {"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": content}
    return {"role": "user", "content": [block]}


def edits(*items):
    return {"context_management": {"edits": list(items)}}


def send(changes=None, *, betas=(BETA,), count=False):
    body = {"model": MODEL, "max_tokens": 100, "messages": [USER], **(changes or {})}
    messages = offline_client(respond).beta.messages
    if count:
        del body["max_tokens"]
        return messages.count_tokens(model=MODEL, messages=[USER], betas=list(betas), extra_body=body)
    return messages.create(model=MODEL, max_tokens=100, messages=[USER], betas=list(betas), extra_body=body)


def refusal(changes, **options):
    with pytest.raises(anthropic.BadRequestError) as caught:
        send(changes, **options)
    return caught.value.body["error"]["message"]


SHAPES = {
    "unknown field": ({"foo": 1}, "foo: Extra inputs are not permitted"),
    "header as field": ({"betas": [BETA]}, "betas: Extra inputs are not permitted"),
    "unknown block field": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "foo": 1}]}]},
        "messages.0.content.0.text.foo: Extra inputs are not permitted",
    ),
    "missing text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages.0.content.0.text.text: Field required",
    ),
    "block without type": (
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        "messages.0.content.0.type: Field required",
    ),
    "unknown role": (
        {"messages": [{"role": "tool", "content": "x"}]},
        "messages.0.role: Input should be 'user', 'assistant' or 'system'",
    ),
    "no role": ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
    "number as content": (
        {"messages": [{"role": "user", "content": 1}]},
        "messages.0.content: Input should be a valid string or list",
    ),
    "messages not a list": ({"messages": "x"}, "messages: Input should be a valid list"),
    "model null": ({"model": None}, "model: Input should be a valid string"),
    "max_tokens as text": ({"max_tokens": "1"}, "max_tokens: Input should be a valid integer"),
    "max_tokens true": ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    "temperature as text": ({"temperature": "1"}, "temperature: Input should be a valid number"),
    "stream as text": ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    "tool without schema": ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
    "schema without type": (
        {"tools": [{"name": "x", "input_schema": {}}]},
        "tools.0.custom.input_schema.type: Field required",
    ),
    "schema of a string": (
        {"tools": [{"name": "x", "input_schema": {"type": "string"}}]},
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    "memory tool misnamed": (
        {"tools": [{"type": "memory_20250818", "name": "notes"}]},
        "tools.0.memory_20250818.name: Input should be 'memory'",
    ),
    "stop sequence as text": ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
    "trigger value as text": (
        edits({**CLEAR, "trigger": {"type": "tool_uses", "value": "3"}}),
        "context_management.edits.0.clear_tool_uses_20250919.trigger.tool_uses.value: "
        "Input should be a valid integer",
    ),
    "unknown edit field": (
        edits({**CLEAR, "keeps": 1}),
        "context_management.edits.0.clear_tool_uses_20250919.keeps: Extra inputs are not permitted",
    ),
    "bad effort": (
        {"output_config": {"effort": "huge"}},
        "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
    ),
}


@pytest.mark.parametrize(("changes", "message"), SHAPES.values(), ids=SHAPES)
def test_shape(changes, message):
    assert refusal(changes) == message


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"tools": [{"name": "x", "type": "function"}]}, "tools.0: Input tag 'function' found using 'type'"),
        (
            edits({"type": "clear_all"}),
            "context_management.edits.0: Input tag 'clear_all' found using 'type'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "txt"}]}]},
            "messages.0.content.0: Input tag 'txt' found using 'type'",
        ),
    ],
)
def test_unknown_types_are_refused_with_those_there_are(changes, start):
    message = refusal(changes)
    assert message.startswith(start)
    assert "does not match any of the expected tags: '" in message


ORPHAN = (
    "unexpected `tool_use_id` found in `tool_result` blocks: b. Each `tool_result` block must have a corresponding "
    "`tool_use` block in the previous message."
)
UNANSWERED = (
    "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have "
    "a corresponding `tool_result` block in the next message."
)
PREFILL = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)
TEXT = {"type": "text", "text": "and"}
RULES = {
    "no messages": ({"messages": []}, "messages: at least one message is required"),
    "system first": (
        {"messages": [{"role": "system", "content": "x"}, USER]},
        'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
        "as an input message role.",
    ),
    "system later on an older model": (
        {"model": "claude-opus-4-7", "messages": [USER, SYSTEM]},
        "messages.1.role: the offline stand-in takes no system message inside a conversation with this model.",
    ),
    "system after the assistant": (
        {"messages": [USER, {"role": "assistant", "content": "x"}, SYSTEM, USER]},
        "messages.2.role: the offline stand-in takes a system message only after a user message.",
    ),
    "empty content": (
        {"messages": [{"role": "user", "content": ""}]},
        "messages.0: all messages must have non-empty content except for the optional final assistant message",
    ),
    "empty text block": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
        "messages: text content blocks must be non-empty",
    ),
    "blank text block": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": " \n"}]}]},
        "messages: text content blocks must contain non-whitespace text",
    ),
    "empty system block": (
        {"system": [{"type": "text", "text": ""}]},
        "system: text content blocks must be non-empty",
    ),
    "max_tokens 0": ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    "max_tokens too large": (
        {"max_tokens": 128_001},
        "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens for claude-sonnet-5-5",
    ),
    "call without result": (
        {"messages": [USER, call("a", "b"), USER]},
        f"messages.1: {UNANSWERED.format('a, b')}",
    ),
    "call with one result of two": (
        {"messages": [USER, call("a", "b"), result("a")]},
        f"messages.1: {UNANSWERED.format('b')}",
    ),
    "text before the result": (
        {"messages": [USER, call("a"), {"role": "user", "content": [TEXT, *result("a")["content"]]}]},
        f"messages.1: {UNANSWERED.format('a')}",
    ),
    "result a turn late": (
        {"messages": [USER, call("a"), USER, {"role": "assistant", "content": "x"}, result("a")]},
        f"messages.1: {UNANSWERED.format('a')}",
    ),
    "call at the end": ({"messages": [USER, call("a")]}, f"messages.1: {UNANSWERED.format('a')}"),
    "result without call": (
        {"messages": [USER, call("a"), result("a", "b")]},
        f"messages.2.content.1: {ORPHAN}",
    ),
    "result first": ({"messages": [result("b")]}, f"messages.0.content.0: {ORPHAN}"),
    "result twice": (
        {"messages": [USER, call("a"), result("a", "a")]},
        "messages.2.content.0: each tool_use must have a single result. Found multiple `tool_result` blocks with "
        "id: a",
    ),
    "id twice in one turn": (
        {"messages": [USER, call("a", "a"), result("a")]},
        "messages.1.content.1: `tool_use` ids must be unique",
    ),
    "bad id": (
        {"messages": [USER, call("a b"), result("a b")]},
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
    ),
    "call by the user": (
        {"messages": [{"role": "user", "content": call("a")["content"]}]},
        "messages.0: `tool_use` blocks can only be in `assistant` messages",
    ),
    "result by the assistant": (
        {"messages": [USER, {"role": "assistant", "content": result("a")["content"]}, USER]},
        "messages.1: `tool_result` blocks can only be in `user` messages",
    ),
    "prefill": ({"messages": [USER, {"role": "assistant", "content": "I"}]}, PREFILL),
    "tool twice": ({"tools": [LOOK, LOOK]}, "tools: Tool names must be unique."),
    "tool name": (
        {"tools": [{**LOOK, "name": "a b"}]},
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    "forced tool": (
        {"tools": [LOOK], "tool_choice": {"type": "tool", "name": "look"}},
        'tool_choice: type "tool" and "any" are not supported for this model.',
    ),
    "any tool": (
        {"tools": [LOOK], "tool_choice": {"type": "any"}},
        'tool_choice: type "tool" and "any" are not supported for this model.',
    ),
    "choice without tools": (
        {"tool_choice": {"type": "auto"}},
        "tool_choice: tool_choice may only be specified while providing tools",
    ),
    "temperature": ({"temperature": 0.5}, "`temperature` is deprecated for this model."),
    "top_p": ({"top_p": 0.5}, "`top_p` is deprecated for this model."),
    "top_k": ({"top_k": 5}, "`top_k` is deprecated for this model."),
    "temperature out of range": ({"temperature": 2}, "temperature: range: 0..1"),
    "thinking enabled": (
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.',
    ),
    "thinking disabled": (
        {"thinking": {"type": "disabled"}},
        '"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools" for the lowest '
        'thinking setting, or "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
    ),
    "thinking disabled on opus": (
        {"model": "claude-opus-5-5", "thinking": {"type": "disabled"}},
        '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.',
    ),
    "adaptive on an old model": (
        {"model": OLD_MODEL, "thinking": {"type": "adaptive"}},
        "adaptive thinking is not supported on this model",
    ),
    "small budget": (
        {"model": OLD_MODEL, "thinking": {"type": "enabled", "budget_tokens": 10}},
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    "budget above the limit": (
        {"model": OLD_MODEL, "max_tokens": 1024, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    "between_tools at high effort": (
        {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
        '"thinking.type.between_tools" is not supported with "output_config.effort" value "max"',
    ),
    "effort on an old model": (
        {"model": OLD_MODEL, "output_config": {"effort": "low"}},
        "This model does not support the effort parameter.",
    ),
    "an effort that the model lacks": (
        {"model": "claude-sonnet-4-6", "output_config": {"effort": "xhigh"}},
        "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.",
    ),
    "block binding without its beta": (
        {"thinking": {"type": "adaptive", "block_binding": {}}},
        "thinking.adaptive.block_binding: Extra inputs are not permitted",
    ),
    "display updates without its beta": (
        {"thinking": {"type": "adaptive", "display": "updates"}},
        '"thinking.display" value "updates" requires the beta header thinking-display-updates-2026-08-18',
    ),
    "negative keep": (
        edits({**CLEAR, "keep": {"type": "tool_uses", "value": -1}}),
        "context_management.edits.0.clear_tool_uses_20250919.keep.value: "
        "Input should be greater than or equal to 0",
    ),
    "compaction without its beta": (
        edits({"type": "compact_20260112"}),
        "context_management.edits.0.compact_20260112: Extra inputs are not permitted",
    ),
    "clear thinking without thinking": (
        {
            "model": "claude-haiku-5-5",
            "thinking": {"type": "disabled"},
            **edits({"type": "clear_thinking_20251015"}),
        },
        "context_management.edits.0.clear_thinking_20251015: strategy requires `thinking` to be enabled or adaptive",
    ),
    "too many cache marks": (
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "an hour after five minutes": (
        {"tools": [LOOK | {"cache_control": {"type": "ephemeral"}}], "system": [HOUR]},
        "system.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control "
        "block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    ),
    "an error without words": (
        {"tools": [LOOK], "messages": [USER, call("a"), failed("")]},
        "messages.2.content.0.tool_result: content cannot be empty if `is_error` is true",
    ),
    "an error without content": (
        {"tools": [LOOK], "messages": [USER, call("a"), failed([])]},
        "messages.2.content.0.tool_result: content cannot be empty if `is_error` is true",
    ),
    "an error in a picture": (
        {"tools": [LOOK], "messages": [USER, call("a"), failed([PICTURE])]},
        "messages.2.content.0.tool_result: all content must be type 'text' if 'is_error' is true",
    ),
    "cache marks and automatic caching": (
        {
            "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 4,
            "cache_control": {"type": "ephemeral"},
        },
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    "blank stop sequence": (
        {"stop_sequences": [" "]},
        "stop_sequences: each stop sequence must contain non-whitespace",
    ),
}


@pytest.mark.parametrize(("changes", "message"), RULES.values(), ids=RULES)
def test_rules(changes, message):
    assert refusal(changes) == message


TOOL_ADDED = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "look"}}
ACCEPTED = {
    "system message last": {"messages": [USER, SYSTEM]},
    "system message last, claude-opus-4-8": {"model": "claude-opus-4-8", "messages": [USER, SYSTEM]},
    "system message followed by others, claude-fable-5": {
        "model": "claude-fable-5",
        "messages": [USER, SYSTEM, {"role": "assistant", "content": "x"}, USER],
    },
    "system message that adds a tool": {
        "tools": [{**LOOK, "defer_loading": True}],
        "messages": [USER, call("a"), result("a"), {"role": "system", "content": [TOOL_ADDED]}],
    },
    "system message with settings only": {
        "messages": [USER, {"role": "system", "output_config": {"effort": "low"}}]
    },
    "five minutes after an hour": {"system": [HOUR, HOUR | {"cache_control": {"type": "ephemeral"}}]},
    "an error in words": {
        "tools": [LOOK],
        "messages": [USER, call("a"), failed([{"type": "text", "text": "No."}])],
    },
    "assistant first": {"messages": [{"role": "assistant", "content": "x"}, USER]},
    "ids that repeat in another turn": {"messages": [USER, call("a"), result("a"), call("a"), result("a")]},
    "results split over two user messages": {"messages": [USER, call("a", "b"), result("a"), result("b")]},
    "text after the result": {
        "messages": [USER, call("a"), {"role": "user", "content": [*result("a")["content"], TEXT]}]
    },
    "result without content": {
        "messages": [
            USER,
            call("a"),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
        ]
    },
    "two user messages": {"messages": [USER, USER]},
    "default sampling": {"temperature": 1, "top_p": 0.99},
    "sampling on an old model": {"model": OLD_MODEL, "temperature": 0.2, "top_k": 5},
    "prefill on an old model": {
        "model": OLD_MODEL,
        "messages": [USER, {"role": "assistant", "content": "I"}],
    },
    "forced tool on an old model": {"model": OLD_MODEL, "tools": [LOOK], "tool_choice": {"type": "any"}},
    "budget on an old model": {
        "model": OLD_MODEL,
        "max_tokens": 1025,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    },
    "adaptive": {"thinking": {"type": "adaptive", "display": "summarized"}},
    "between_tools": {"thinking": {"type": "between_tools"}, "output_config": {"effort": "high"}},
    "memory tool": {
        "tools": [{"type": "memory_20250818", "name": "memory"}, LOOK],
        "tool_choice": {"type": "auto"},
    },
    "nulls": {"cache_control": None, "context_management": None},
    "largest answer": {"max_tokens": 128_000},
    "schema with more keys": {
        "tools": [{**LOOK, "input_schema": {"type": "object", "additionalProperties": False}}]
    },
    "edit with all settings": edits(
        {
            **CLEAR,
            "trigger": {"type": "input_tokens", "value": 10},
            "keep": {"type": "tool_uses", "value": 0},
            "clear_at_least": {"type": "input_tokens", "value": 1},
            "exclude_tools": ["look"],
            "clear_tool_inputs": ["look"],
        }
    ),
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_api_takes_is_taken(changes):
    assert send(changes).type == "message"


def test_context_management_needs_its_beta():
    message = "context_management: Extra inputs are not permitted"
    assert refusal(edits(CLEAR), betas=()) == message
    assert refusal(edits(CLEAR), betas=["files-api-2025-04-14"]) == message
    assert refusal(edits(CLEAR), betas=["compact-2026-01-12"]).endswith("Extra inputs are not permitted")
    with pytest.raises(anthropic.BadRequestError, match=message):
        offline_client(respond).messages.create(
            model=MODEL, max_tokens=10, messages=[USER], extra_body=edits(CLEAR)
        )


def test_beta_fields_are_known_with_their_header_alone():
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": BETA}
    body = json.dumps({"model": MODEL, "max_tokens": 10, "messages": [USER], **edits(CLEAR)}).encode()
    assert OfflineAPI(respond).handle("POST", "/v1/messages", headers, body).status == 200


def test_beta_fields_are_known_with_the_query_too():
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    body = {
        "model": MODEL,
        "max_tokens": 10,
        "messages": [USER],
        "tools": [{"type": "bash_20241022", "name": "bash"}],
    }
    statuses = [
        OfflineAPI(respond).handle("POST", f"/v1/messages{query}", headers, json.dumps(body).encode()).status
        for query in ("", "?beta=true")
    ]
    assert statuses == [400, 200]


def test_what_is_not_simulated_says_so():
    message = refusal({"compaction": {"type": "summarize"}}, betas=["compact-2026-09-04"])
    assert message == "compaction: the offline stand-in compacts through `context_management.edits` only."


BETA_FIELDS = {
    "mcp_servers": ("mcp-client-2025-11-20", [{"type": "url", "name": "x", "url": "https://x.invalid"}]),
    "output_format": ("structured-outputs-2025-11-13", {"type": "json_schema", "schema": {"type": "object"}}),
    "fallbacks": ("server-side-fallback-2026-07-01", [{"model": "claude-opus-5-5"}]),
}


@pytest.mark.parametrize("name", BETA_FIELDS)
def test_a_field_of_a_beta_is_taken_with_its_header_and_else_refused_in_our_own_words(name):
    beta, value = BETA_FIELDS[name]
    assert send({name: value}, betas=[beta]).type == "message"
    message = refusal({name: value})
    assert message.startswith(f"{name}: the offline stand-in takes this field only with the beta header `")
    assert beta.startswith(message.split("`")[1].removesuffix("..."))


@pytest.mark.parametrize("beta", sorted(sdk_betas()))
def test_every_beta_that_the_sdk_knows_is_taken(beta):
    assert send(betas=[beta]).type == "message"


def test_thinking_is_cleared_before_tool_uses():
    order = edits(CLEAR, {"type": "clear_thinking_20251015"})
    assert "must be listed first" in refusal(order)


def test_an_unknown_beta_is_refused():
    assert refusal({}, betas=["context-management-2025", "new-2027-01-01"]).startswith(
        "Unexpected value(s) `context-management-2025`, `new-2027-01-01` for the `anthropic-beta` header."
    )


def test_count_tokens_checks_as_messages_do():
    assert refusal({"foo": 1}, count=True) == "foo: Extra inputs are not permitted"
    assert "not supported" in refusal({"tools": [LOOK], "tool_choice": {"type": "any"}}, count=True)
    assert refusal(RULES["call without result"][0], count=True) == RULES["call without result"][1]


@pytest.mark.parametrize("model", ["claude-3-5-haiku-20241022", "claude-opus-4-0", "claude-sonnet-55"])
def test_a_model_that_is_not_there(model):
    with pytest.raises(anthropic.NotFoundError) as caught:
        send({"model": model})
    assert caught.value.body["error"] == {"type": "not_found_error", "message": f"model: {model}"}


COMPLETE = {
    "model": MODEL,
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        USER,
        call("a"),
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}},
            ],
        },
    ],
    "tools": [LOOK, {"type": "memory_20250818", "name": "memory"}],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "low"},
    "metadata": {"user_id": "u"},
    **edits({**CLEAR, "trigger": {"type": "tool_uses", "value": 3}}),
}
FREE_FORM = ("input", "input_schema", "properties")


def objects(value, path=()):
    """The paths of all objects whose keys the API prescribes."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in FREE_FORM:
                yield from objects(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def answer(body):
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": BETA}
    result = OfflineAPI(respond).handle("POST", "/v1/messages", headers, json.dumps(body).encode())
    return result.status, json.loads(result.body)


def test_the_complete_request_is_taken():
    assert answer(COMPLETE)[0] == 200


@pytest.mark.parametrize("path", list(objects(COMPLETE)), ids=lambda path: ".".join(map(str, path)) or "top")
def test_an_unknown_key_is_refused_wherever_it_is(path):
    body = copy.deepcopy(COMPLETE)
    at(body, path)["surprise"] = 1
    status, content = answer(body)
    assert status == 400
    assert content["error"]["message"].endswith("surprise: Extra inputs are not permitted")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from([path for path in objects(COMPLETE) if path]), st.data())
def test_a_broken_request_never_breaks_the_api(path, data):
    """Whatever stands in place of any value, the answer is a message or an error about the request."""
    body = copy.deepcopy(COMPLETE)
    key = data.draw(st.sampled_from(sorted(at(body, path))))
    at(body, path)[key] = data.draw(JSON)
    assert answer(body)[0] in (200, 400, 404)


def test_responses_can_be_sent_back_as_they_are():
    client = client_for(
        OfflineAPI(lambda prompt: Reply((TEXT, {"type": "tool_use", "name": "look", "input": {}})))
    )
    first = client.beta.messages.create(model=MODEL, max_tokens=100, messages=[USER], tools=[LOOK])
    history = [USER, {"role": "assistant", "content": first.content}, result(first.content[-1].id)]
    second = client.beta.messages.create(model=MODEL, max_tokens=100, messages=history, tools=[LOOK])
    assert second.id != first.id
