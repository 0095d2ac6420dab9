"""A 200 is not yet an answer: each fault here ends in one sentence, with the conversation as it was."""

import copy
import json

import pytest
from anthropic import beta_tool
from conversing import converse_sync
from hypothesis import given
from hypothesis import strategies as st
from wire import EVENTS, JSON, Wire, events_of, message, text, use

from memory_demo.demo_helpers import ConversationError

HTML = {"content-type": "text/html"}
PAGE = b"<!DOCTYPE html>\n<html><title>Sign in</title>\n<body>Please sign in.</body></html>"
ASKED = [{"role": "user", "content": "Review this"}]
WHOLE = message(text("Looks good."))
EVENT_LIST = list(
    events_of(message(text("Let me see. "), use("count", {"words": "a b"}), stop_reason="tool_use"))
)


@beta_tool
def count(words: str) -> str:
    """Count words."""
    return str(len(words.split()))


def fails(converse, answer, *, stream, match=None, before=()):
    """The sentence that a turn ends in when this is its answer. The turns `before` it must stay."""
    wire = Wire(*before, answer, WHOLE)
    messages = copy.deepcopy(ASKED)
    with pytest.raises(ConversationError, match=match) as caught:
        converse(wire, messages, tools=[count], stream=stream)
    assert "\n" not in str(caught.value)
    assert len(messages) == len(ASKED) + 2 * len(before)
    assert messages[: len(ASKED)] == ASKED
    assert converse(wire, messages, tools=[count], stream=stream).content[0].text == "Looks good."
    return str(caught.value)


NO_MESSAGES = {
    "a page of HTML": (200, HTML, PAGE),
    "a page of HTML that says it is JSON": (200, JSON, PAGE),
    "nothing": (200, JSON, b""),
    "nothing, of no type": (200, {}, b""),
    "JSON cut off": (200, JSON, json.dumps(WHOLE).encode()[:-30]),
    "bytes that are no UTF-8": (200, JSON, b'{"type": "\xff\xfe"}'),
    "null": (200, JSON, b"null"),
    "a list": (200, JSON, b"[1, 2]"),
    "a number": (200, JSON, b"7"),
    "another shape": (200, JSON, b'{"choices": [{"message": {"content": "Hi"}}]}'),
    "an error with status 200": (200, JSON, b'{"type": "error", "error": {"type": "x", "message": "y"}}'),
    "content that is text": (200, JSON, json.dumps({**WHOLE, "content": "Hi"}).encode()),
    "a block that is text": (200, JSON, json.dumps({**WHOLE, "content": ["Hi"]}).encode()),
    "a text without text": (200, JSON, json.dumps(message({"type": "text"})).encode()),
    "a tool use without an id": (200, JSON, json.dumps(message(use("count", {}, id=None))).encode()),
    "no stop reason": (200, JSON, json.dumps({**WHOLE, "stop_reason": None}).encode()),
    "no usage": (200, JSON, json.dumps({k: v for k, v in WHOLE.items() if k != "usage"}).encode()),
}


@pytest.mark.parametrize("name", NO_MESSAGES)
def test_a_200_that_is_no_message(converse, stream, name):
    sentence = fails(converse, NO_MESSAGES[name], stream=stream)
    assert "connection" not in sentence, "it was not lost"


def test_the_turns_before_a_fault_stay(converse, stream):
    asks = message(use("count", {"words": "a"}), stop_reason="tool_use")
    fails(converse, (200, HTML, PAGE), stream=stream, before=[asks])


@pytest.mark.parametrize("events", range(len(EVENT_LIST)))
def test_a_stream_that_ends_without_message_stop(converse, events):
    """The connection is closed as if all were well, so nobody else notices."""
    fails(converse, (200, EVENTS, b"".join(EVENT_LIST[:events])), stream=True, match="before it was complete")


BAD_EVENTS = {
    "no JSON": b"event: content_block_delta\ndata: {not json\n\n",
    "null": b"event: content_block_delta\ndata: null\n\n",
    "text": b'event: content_block_delta\ndata: "Hi"\n\n',
    "no type": b"event: content_block_delta\ndata: {}\n\n",
    "no UTF-8": b"event: content_block_delta\ndata: \xff\n\n",
    "a block that was never started": b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"x"}}\n\n',
    "a second start": EVENT_LIST[0].replace(b'"content": []', b'"content": null'),
}


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("name", BAD_EVENTS)
def test_an_event_that_cannot_be_read(converse, name, at):
    cut = [*EVENT_LIST[:at], BAD_EVENTS[name], *EVENT_LIST[at:-1]]
    fails(
        converse, (200, EVENTS, b"".join(cut)), stream=True, match="could not be read|before it was complete"
    )


ERROR_EVENTS = {
    "overloaded_error": "The API is overloaded; repeat the call later",
    "rate_limit_error": "rate limit still holds",
    "api_error": "The API is failing; repeat the call later",
    "authentication_error": "refused the key",
    "permission_error": "does not permit",
    "invalid_request_error": "rejected the request: as it says",
    "something_new": "rejected the request: as it says",
}


@pytest.mark.parametrize("at", [0, 1, 4, len(EVENT_LIST) - 1])
@pytest.mark.parametrize("kind", ERROR_EVENTS)
def test_an_error_event_is_called_what_it_is(converse, kind, at):
    error = {"type": "error", "error": {"type": kind, "message": "as it says"}}
    cut = [*EVENT_LIST[:at], f"event: error\ndata: {json.dumps(error)}\n\n".encode()]
    fails(converse, (200, EVENTS, b"".join(cut)), stream=True, match=ERROR_EVENTS[kind])


def test_an_error_event_that_is_no_json(converse):
    fails(converse, (200, EVENTS, b"event: error\ndata: <html>\ndata: 502</html>\n\n"), stream=True)


STATUSES = {
    401: "refused the key; check ANTHROPIC_API_KEY",
    403: r"does not permit this request with this key \(HTTP 403\)",
    404: "no Messages API at http://wire.invalid/v1/messages.*check ANTHROPIC_BASE_URL",
    413: "rejected the request",
    429: "rate limit still holds",
    500: r"failing \(HTTP 500\)",
    502: r"failing \(HTTP 502\)",
    504: r"took too long \(HTTP 504\)",
    529: r"overloaded \(HTTP 529\)",
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_of_html_with_an_error_status_is_not_quoted(converse, stream, status):
    sentence = fails(converse, (status, HTML, PAGE), stream=stream, match=STATUSES[status])
    assert "<" not in sentence


def test_what_cannot_be_encoded_is_the_caller_s_to_mend(converse, stream):
    wire = Wire(WHOLE)
    messages = [{"role": "user", "content": "half a pair: \ud83d"}]
    with pytest.raises(ConversationError, match="half a surrogate pair"):
        converse(wire, messages, stream=stream)
    assert wire.requests == []


def test_a_parameter_that_does_not_exist_is_no_fault_of_the_api(converse, stream):
    with pytest.raises(TypeError, match="no_such_parameter"):
        converse(Wire(WHOLE), copy.deepcopy(ASKED), stream=stream, no_such_parameter=1)


@given(st.data())
def test_whatever_bytes_come_it_is_a_whole_message_or_one_sentence(data):
    """Streams with bytes lost, doubled or changed; the oracle is that nothing else may happen."""
    body = bytearray(b"".join(EVENT_LIST))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=3))
    messages = copy.deepcopy(ASKED)
    try:
        converse_sync(Wire((200, EVENTS, bytes(body)), WHOLE), messages, tools=[count], stream=True)
    except ConversationError as error:
        assert "\n" not in str(error)
    roles = [entry["role"] for entry in json.loads(json.dumps(messages))]
    assert roles in (
        ["user"],
        ["user", "assistant"],
        ["user", "assistant", "user"],
        ["user", "assistant"] * 2,
    )


odd = st.sampled_from(
    [None, True, 0, -1, "", "tool_use", "text", [], ["x"], [[]], {}, [{}], [{"type": "text"}]]
)
blocks = st.lists(st.dictionaries(st.sampled_from(["type", "text", "id", "name", "input"]), odd), max_size=2)


@given(st.dictionaries(st.sampled_from([*WHOLE, "error"]), odd | blocks), st.booleans())
def test_whatever_json_comes_it_is_a_whole_message_or_one_sentence(fields, alone):
    body = fields if alone else {**WHOLE, **fields}
    messages = copy.deepcopy(ASKED)
    try:
        response = converse_sync(Wire((200, JSON, json.dumps(body).encode())), messages, max_turns=1)
    except ConversationError as error:
        assert "\n" not in str(error)
        assert messages == ASKED
    else:
        assert isinstance(response.stop_reason, str)
        assert json.loads(json.dumps(messages)) == messages
