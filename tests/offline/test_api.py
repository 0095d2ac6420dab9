"""The API as the SDK's clients see it: messages, token counts, tool runner, limits."""

import asyncio
import json
import logging

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool

from memory_demo.offline import (
    OfflineAPI,
    Reply,
    async_client_for,
    client_for,
    offline_async_client,
    offline_client,
)
from memory_demo.offline.context_editing import CLEARED

MODEL = "claude-sonnet-5-5"
BETA = "context-management-2025-06-27"
HELLO = [{"role": "user", "content": "Hello"}]
LOOK = {"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}
HEADERS = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


def text(value):
    return {"type": "text", "text": value}


def use(tool="look", **arguments):
    return {"type": "tool_use", "name": tool, "input": arguments}


def says(*blocks, **fields):
    return lambda prompt: Reply(blocks, **fields)


def visible(message):
    return [block.to_dict() for block in message.content if block.type != "thinking"]


def create(client, **changes):
    return client.beta.messages.create(
        **{"model": MODEL, "max_tokens": 1000, "messages": HELLO, "betas": [BETA], **changes}
    )


@pytest.fixture
def seen():
    return []


@pytest.fixture
def watching(seen):
    """A responder that keeps the prompts it gets."""

    def respond(prompt):
        seen.append(prompt)
        return Reply((text("Seen."),), thinking="Looked.")

    return respond


def exchange(number, size=400):
    """An assistant's tool call and its result."""
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"number": number}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "x" * size}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]


def conversation(exchanges):
    return HELLO + [message for number in range(exchanges) for message in exchange(number)]


def clearing(keep=1):
    return {
        "edits": [
            {
                "type": "clear_tool_uses_20250919",
                "trigger": {"type": "tool_uses", "value": 2},
                "keep": {"type": "tool_uses", "value": keep},
            }
        ]
    }


@pytest.mark.parametrize("beta", [True, False], ids=["beta", "plain"])
def test_replies_pass_strict_validation(beta):
    client = offline_client(says(text("Hi."), use(a=1)), _strict_response_validation=True)
    messages = client.beta.messages if beta else client.messages
    message = messages.create(model=MODEL, max_tokens=100, messages=HELLO)
    assert message.model == "offline-stand-in"
    assert message.stop_reason == "tool_use"
    tool_use = message.content[-1]
    assert (tool_use.name, tool_use.input) == ("look", {"a": 1})
    assert tool_use.id.startswith("toolu_")
    with messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
        assert stream.get_final_message().content[-1].input == {"a": 1}


@pytest.mark.parametrize("beta", [True, False], ids=["beta", "plain"])
def test_async_replies_pass_strict_validation(beta):
    async def run():
        client = offline_async_client(says(text("Hi.")), _strict_response_validation=True)
        messages = client.beta.messages if beta else client.messages
        message = await messages.create(model=MODEL, max_tokens=100, messages=HELLO)
        async with messages.stream(model=MODEL, max_tokens=100, messages=HELLO) as stream:
            return message, await stream.get_final_message()

    plain, streamed = asyncio.run(run())
    assert visible(plain) == visible(streamed) == [text("Hi.")]


def test_the_responder_sees_normalised_messages_without_thinking(seen, watching):
    client = offline_client(watching)
    first = create(client, system=[text("One."), text("Two.")], tools=[LOOK])
    history = [*HELLO, {"role": "assistant", "content": first.content}]
    history += [{"role": "user", "content": "A"}, {"role": "user", "content": [text("B")]}]
    create(client, system=[text("One."), text("Two.")], tools=[LOOK], messages=history)
    assert seen[1].system == "One.\n\nTwo."
    assert seen[1].tools == (LOOK,)
    assert list(seen[1].messages) == [
        {"role": "user", "content": [text("Hello")]},
        {"role": "assistant", "content": [text("Seen.")]},
        {"role": "user", "content": [text("A"), text("B")]},
    ]


def test_the_responder_sees_messages_after_context_editing(seen, watching):
    message = create(
        offline_client(watching), messages=conversation(3), tools=[LOOK], context_management=clearing()
    )
    results = [b for m in seen[0].messages for b in m["content"] if b["type"] == "tool_result"]
    assert [result["content"] for result in results] == [CLEARED, CLEARED, "x" * 400]
    (edit,) = message.context_management.applied_edits
    assert edit.cleared_tool_uses == 2
    assert edit.cleared_input_tokens > 0


def test_applied_edits_are_empty_when_nothing_was_cleared_and_absent_when_not_asked_for():
    client = offline_client(says(text("Hi.")))
    assert create(client, context_management=clearing()).context_management.applied_edits == []
    assert create(client).context_management is None


def test_counted_tokens_are_those_a_request_is_billed_for():
    client = offline_client(says(text("Hi.")))
    request = {"messages": conversation(4), "tools": [LOOK], "context_management": clearing()}
    count = client.beta.messages.count_tokens(model=MODEL, betas=[BETA], **request)
    message = create(client, **request)
    assert message.usage.input_tokens == count.input_tokens
    cleared = message.context_management.applied_edits[0].cleared_input_tokens
    assert count.context_management.original_input_tokens == count.input_tokens + cleared
    plain = client.messages.count_tokens(model=MODEL, messages=conversation(4), tools=[LOOK])
    assert plain.input_tokens == count.context_management.original_input_tokens


def test_a_growing_conversation_reads_its_earlier_prefix_from_the_cache():
    client = offline_client(says(text("Hi.")))
    settings = {"tools": [LOOK], "cache_control": {"type": "ephemeral"}}
    first = create(client, messages=conversation(9), **settings).usage
    second = create(client, messages=conversation(10), **settings).usage
    assert (first.input_tokens, first.cache_read_input_tokens) == (0, 0)
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens > 512
    assert second.cache_creation_input_tokens > 0
    assert second.cache_creation.ephemeral_5m_input_tokens == second.cache_creation_input_tokens
    uncached = create(client, messages=conversation(10), tools=[LOOK]).usage
    assert uncached.input_tokens == second.cache_read_input_tokens + second.cache_creation_input_tokens
    assert uncached.cache_read_input_tokens == 0


def test_cache_entries_age_by_the_clock():
    now = [0.0]
    client = client_for(OfflineAPI(says(text("Hi.")), clock=lambda: now[0]))

    def read(ttl):
        settings = {"tools": [LOOK], "cache_control": {"type": "ephemeral", "ttl": ttl}}
        usage = create(client, messages=conversation(9), **settings).usage
        return usage.cache_read_input_tokens, usage.cache_creation.ephemeral_1h_input_tokens

    assert read("5m") == (0, 0)
    now[0] = 301
    assert read("1h")[1] > 512
    now[0] = 3000
    assert read("1h")[0] > 512


def test_the_same_requests_give_the_same_bytes():
    bodies = [
        {
            "model": MODEL,
            "max_tokens": 200,
            "messages": conversation(n),
            "tools": [LOOK],
            "stream": n % 2 == 0,
        }
        for n in range(4)
    ]

    def answers():
        api = OfflineAPI(says(text("Hi."), use(), thinking="Well."))
        return [api.handle("POST", "/v1/messages", HEADERS, json.dumps(body).encode()) for body in bodies]

    assert answers() == answers()


def test_ids_differ_between_requests_and_between_blocks():
    client = offline_client(says(use(), use()))
    messages = [create(client, tools=[LOOK]), create(client, tools=[LOOK], max_tokens=999)]
    ids = [block["id"] for message in messages for block in visible(message)]
    assert len({message.id for message in messages}) == 2
    assert len(set(ids)) == 4


def test_every_answer_says_that_it_is_not_claude():
    client = offline_client(says(text("Hi.")))
    response = client.messages.with_raw_response.create(model=MODEL, max_tokens=10, messages=HELLO)
    assert response.headers["x-offline-stand-in"] == "true"
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="claude-9", max_tokens=10, messages=HELLO)
    assert caught.value.response.headers["x-offline-stand-in"] == "true"
    assert caught.value.request_id == caught.value.response.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "kind", "message"),
    [
        (
            "POST",
            "/v1/messages",
            {"x-api-key": ""},
            b"{}",
            401,
            "authentication_error",
            "x-api-key header is required",
        ),
        (
            "POST",
            "/v1/messages",
            {"anthropic-version": "x"},
            b"{}",
            400,
            "invalid_request_error",
            "not a valid version",
        ),
        ("POST", "/v1/messages", {}, b"{", 400, "invalid_request_error", "not valid JSON"),
        ("POST", "/v1/messages", {}, b"\xff", 400, "invalid_request_error", "not valid JSON"),
        ("POST", "/v1/messages", {}, b"[]", 400, "invalid_request_error", "valid dictionary"),
        ("POST", "/v1/messages", {}, b"[" * 100_000, 400, "invalid_request_error", "not valid JSON"),
        ("POST", "/v1/messages", {}, b" " * (32 * 1024 * 1024 + 1), 413, "request_too_large", "exceeds"),
        ("POST", "/v1/message", {}, b"{}", 404, "not_found_error", "Not found"),
        ("POST", "/v1/messages/", {}, b"{}", 404, "not_found_error", "Not found"),
        ("GET", "/v1/messages", {}, b"", 405, "invalid_request_error", "Method Not Allowed"),
        ("POST", "/v1/models", {}, b"{}", 405, "invalid_request_error", "Method Not Allowed"),
        ("GET", "/v1/models/claude-9", {}, b"", 404, "not_found_error", "model: claude-9"),
    ],
)
def test_errors_have_the_shape_of_the_api(method, path, headers, body, status, kind, message):
    answer = OfflineAPI(says(text("Hi."))).handle(method, path, {**HEADERS, **headers}, body)
    content = json.loads(answer.body)
    assert answer.status == status
    assert content["type"] == "error"
    assert content["error"]["type"] == kind
    assert message in content["error"]["message"]
    assert content["request_id"] == answer.headers["request-id"]


def test_a_request_needs_its_version_header():
    answer = OfflineAPI(says(text("Hi."))).handle("GET", "/v1/models", {"X-Api-Key": "k"}, b"")
    assert json.loads(answer.body)["error"]["message"] == "anthropic-version: header is required"


def test_a_bearer_token_is_a_key():
    headers = {"Authorization": "Bearer t", "anthropic-version": "2023-06-01"}
    assert OfflineAPI(says(text("Hi."))).handle("GET", "/v1/models", headers, b"").status == 200


def test_max_tokens_cuts_text():
    message = create(offline_client(says(text("word " * 200), use())), max_tokens=20)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 20
    (block,) = visible(message)
    assert "word " * 200 > block["text"] > ""


def test_max_tokens_cuts_a_tool_call_short():
    client = offline_client(says(use(first="a", second="b" * 400)))
    message = create(client, max_tokens=60, tools=[LOOK])
    assert message.stop_reason == "max_tokens"
    (block,) = visible(message)
    assert block["input"] == {"first": "a"}
    with client.beta.messages.stream(
        model=MODEL, max_tokens=60, tools=[LOOK], messages=HELLO, betas=[BETA]
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        assert visible(stream.get_final_message())[0]["input"] == {"first": "a"}
    with pytest.raises(ValueError, match="Unterminated string"):
        json.loads("".join(pieces))


def test_a_reply_that_just_fits_is_whole():
    whole = create(offline_client(says(text("word " * 20))))
    again = create(offline_client(says(text("word " * 20))), max_tokens=whole.usage.output_tokens)
    assert again.stop_reason == "end_turn"
    assert visible(again) == visible(whole)


def test_thinking_counts_as_output():
    quiet = create(offline_client(says(text("Hi.")))).usage
    loud = create(offline_client(says(text("Hi."), thinking="Let me think about that."))).usage
    assert loud.output_tokens_details.thinking_tokens > 0
    assert loud.output_tokens == quiet.output_tokens + loud.output_tokens_details.thinking_tokens


@pytest.mark.parametrize(
    ("sequences", "expected", "matched"),
    [
        (["STOP"], [text("One ")], "STOP"),
        (["Two", "STOP"], [text("One ")], "STOP"),
        (["One"], [], "One"),
        (["S", "STOP"], [text("One ")], "STOP"),
    ],
)
def test_stop_sequences_end_a_reply(sequences, expected, matched):
    message = create(offline_client(says(text("One STOP Two"), use())), stop_sequences=sequences)
    assert message.stop_reason == "stop_sequence"
    assert message.stop_sequence == matched
    assert visible(message) == expected


def test_a_stop_sequence_that_does_not_occur_changes_nothing():
    message = create(offline_client(says(text("One"))), stop_sequences=["Two"])
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)


def test_a_refusal_has_its_details():
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    message = create(offline_client(says(text("No."), stop_reason="refusal", stop_details=details)))
    assert message.stop_reason == "refusal"
    assert message.stop_details.category == "cyber"


def test_a_paused_turn_can_be_continued_by_sending_it_back():
    replies = iter([Reply((text("Searching"),), stop_reason="pause_turn"), Reply((text("found it."),))])
    client = offline_client(lambda prompt: next(replies))
    paused = create(client)
    assert paused.stop_reason == "pause_turn"
    messages = [*HELLO, {"role": "assistant", "content": paused.content}]
    assert visible(create(client, messages=messages)) == [text("found it.")]


def test_a_turn_that_was_not_paused_is_prefill():
    client = offline_client(says(text("Hi.")))
    messages = [*HELLO, {"role": "assistant", "content": create(client).content}]
    with pytest.raises(anthropic.BadRequestError, match="does not support assistant message prefill"):
        create(client, messages=messages)


def test_a_responder_that_fails_is_logged_and_not_retried(caplog):
    api = OfflineAPI(lambda prompt: 1 // 0)
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(anthropic.InternalServerError, match="ZeroDivisionError"),
    ):
        create(client_for(api))
    assert len(api.requests) == 1
    assert caplog.records[0].exc_info


def test_a_prompt_beyond_the_context_window_is_refused():
    messages = [{"role": "user", "content": "x" * 600_000}]
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 200000 maximum"):
        create(offline_client(says(text("Hi."))), model="claude-haiku-4-5", messages=messages)


def answer_from_result(prompt):
    last = prompt.messages[-1]["content"][-1]
    if last["type"] == "tool_result":
        return Reply((text(f"It says: {last['content']}"),))
    return Reply((text("Let me look."), use("read", name="a.py")), thinking="Which file?")


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_tool_runner_falls_back_from_threads(stream):
    @beta_tool
    def read(name: str) -> str:
        """Read a file."""
        return f"content of {name}"

    api = OfflineAPI(answer_from_result)
    client = client_for(api, _strict_response_validation=True)
    runner = client.beta.messages.tool_runner(
        model=MODEL, max_tokens=1000, messages=HELLO, tools=[read], stream=stream
    )
    final = runner.until_done()
    assert visible(final) == [text("It says: content of a.py")]
    assert ["thread" in request.json for request in api.requests] == [True, False, False]
    assert [len(request.json["messages"]) for request in api.requests] == [1, 1, 3]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_the_async_tool_runner_falls_back_from_threads(stream):
    @beta_async_tool
    async def read(name: str) -> str:
        """Read a file."""
        return f"content of {name}"

    api = OfflineAPI(answer_from_result)

    async def run():
        runner = async_client_for(api).beta.messages.tool_runner(
            model=MODEL, max_tokens=1000, messages=HELLO, tools=[read], stream=stream
        )
        return await runner.until_done()

    assert visible(asyncio.run(run())) == [text("It says: content of a.py")]
    assert ["thread" in request.json for request in api.requests] == [True, False, False]


def test_a_thread_is_refused_with_the_error_the_sdk_knows():
    with pytest.raises(anthropic.BadRequestError) as caught:
        create(
            offline_client(says(text("Hi."))),
            betas=["message-threads-2026-08-12", BETA],
            thread={"type": "create"},
            context_management=clearing(),
        )
    assert caught.value.error_code == "thread_unsupported_request"
    assert caught.value.body["error"]["details"]["unsupported"] == ["context_management"]


def test_the_default_responder_answers():
    message = offline_client().messages.create(model=MODEL, max_tokens=500, messages=HELLO)
    assert visible(message)[0]["text"]
