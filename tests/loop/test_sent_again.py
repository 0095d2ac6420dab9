"""Whatever a tool does or a model asks for, the conversation can be sent again: the strict stand-in takes it."""

import contextlib
import copy
import json
import logging

import pandas
import pydantic
import pytest
from anthropic import beta_tool
from anthropic.lib.tools import ToolError
from conversing import MODEL, SYSTEM
from hypothesis import given
from hypothesis import strategies as st
from wire import Wire, message, text, use

from memory_demo.demo_helpers import ToolUse, run_conversation_loop, tool_result
from memory_demo.offline import Reply, offline_client

ASKED = [{"role": "user", "content": "Go on"}]
DONE = message(text("Done."))


def tool_that(act):
    @beta_tool(name="act", description="Acts.", input_schema={"type": "object"})
    def run(**given):
        return act()

    return run


def asks(*uses):
    return message(*uses, stop_reason="tool_use")


def the_api_takes(messages):
    """The stand-in's own checks on this conversation, as the next request."""
    client = offline_client(lambda prompt: Reply(({"type": "text", "text": "Fine."},)), max_retries=0)
    messages = [*json.loads(json.dumps(messages)), {"role": "user", "content": "And now?"}]
    tools = [tool_that(lambda: None)]
    run_conversation_loop(client, MODEL, messages, None, SYSTEM, tools=tools)
    return True


def after(converse, stream, uses, act=lambda: "ran", **options):
    """The results of these tool uses, in a conversation that was sent on and could be sent again."""
    wire = Wire(asks(*uses), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, tools=[tool_that(act)], stream=stream, **options)
    assert wire.requests[1]["messages"] == messages[:3]
    assert the_api_takes(messages)
    return messages[1]["content"], messages[2]["content"]


def fail(error):
    raise error


RETURNED = {
    "nothing": (None, "Done; the tool returned nothing."),
    "a number": (7, "7"),
    "true": (True, "true"),
    "no number": (float("nan"), "nan"),
    "a mapping": ({"lines": 3}, '{"lines": 3}'),
    "a list that is no blocks": ([1, "two"], '[1, "two"]'),
    "an empty list": ([], "[]"),
    "bytes": (b"\xff", "b'\\xff'"),
    "an object": (Wire, str(Wire)),
    "half a surrogate pair": ("x\ud83dy", "x\ufffdy"),
    "half a pair in a block": ([{"type": "text", "text": "\udc00"}], [{"type": "text", "text": "\ufffd"}]),
    "half a pair in a mapping": ({"a\ud800": "\ud800"}, '{"a\ufffd": "\ufffd"}'),
    "a block without text": ([{"type": "text", "text": ""}], '[{"type": "text", "text": ""}]'),
    "a generator": ((n for n in "ab"), '["a", "b"]'),
}


@pytest.mark.parametrize("name", RETURNED)
def test_a_tool_may_return_anything(converse, stream, name):
    returned, expected = RETURNED[name]
    if name == "a generator":
        returned = iter(["a", "b"])
    _, [result] = after(converse, stream, [use("act", {})], lambda: returned)
    assert result == {"type": "tool_result", "tool_use_id": "toolu_1", "content": expected}


PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
RAISED = {
    "a defect": (RuntimeError("at /home/someone"), "The tool act failed; go on without it."),
    "a refusal": (ToolError("not \ud800 today"), "not \ufffd today"),
    "a refusal without words": (ToolError(""), "The tool gave no reason."),
    "a refusal in blocks": (
        ToolError([{"type": "text", "text": "No."}, PICTURE]),
        [{"type": "text", "text": "No."}],
    ),
}


@pytest.mark.parametrize("name", RAISED)
def test_a_tool_may_raise(converse, stream, caplog, name):
    error, expected = RAISED[name]
    with caplog.at_level(logging.ERROR):
        _, [result] = after(converse, stream, [use("act", {})], lambda: fail(error))
    assert result["content"] == expected
    assert result["is_error"]
    assert ("at /home/someone" in caplog.text) == (name == "a defect"), (
        "a defect is logged with its traceback"
    )


@pytest.mark.parametrize("given", ["abc", ["a"], 7, None, True])
def test_an_input_that_is_no_object_is_named(converse, stream, given):
    content, [result] = after(converse, stream, [use("act", given)])
    assert result["is_error"]
    assert result["content"] == f"Invalid input for act: it must be an object, not {json.dumps(given)}"
    assert content[0]["input"] == {}, "the API takes no other"


def test_memory_gets_no_input_that_is_no_object(converse):
    class Memory:
        def execute(self, params=None, /):
            raise AssertionError("must not be called")

    wire = Wire(asks(use("memory", "view")), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, Memory())
    assert messages[2]["content"][0]["content"].startswith("Invalid input for memory")


@pytest.mark.parametrize("answer", [None, {}, {"success": None}, {"error": 3}, {"success": "a\ud800"}])
def test_a_memory_may_answer_anything(converse, answer):
    class Memory:
        def execute(self, params=None, /):
            return answer

    messages = copy.deepcopy(ASKED)
    converse(Wire(asks(use("memory", {"command": "view"})), DONE), messages, Memory())
    assert the_api_takes(messages)


def test_two_tool_uses_with_one_id_are_told_apart(converse, stream):
    ran = iter("abc")
    uses = [use("act", {}), use("act", {}), use("act", {}, id="toolu_1_2")]
    content, results = after(converse, stream, uses, lambda: next(ran))
    ids = [block["id"] for block in content]
    assert len(set(ids)) == 3
    assert [(result["tool_use_id"], result["content"]) for result in results] == list(
        zip(ids, "abc", strict=True)
    )


def test_tool_use_without_a_tool_use_ends_the_loop(converse, stream):
    wire = Wire(message(text("I will look."), stop_reason="tool_use"))
    messages = copy.deepcopy(ASKED)
    response = converse(wire, messages, tools=[tool_that(lambda: None)], stream=stream)
    assert response.stop_reason == "tool_use"
    assert len(wire.requests) == 1
    assert the_api_takes(messages)


def test_a_server_that_ends_a_tool_use_with_end_turn_is_understood(converse, stream):
    wire = Wire(message(use("act", {}), stop_reason="end_turn"), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, tools=[tool_that(lambda: "ran")], stream=stream)
    assert messages[2]["content"][0]["content"] == "ran"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_tool_leaves_the_conversation_before_that_request(converse, stream, error):
    calls = []

    def act():
        calls.append(1)
        if len(calls) == 2:
            raise error
        return "ran"

    tools = [tool_that(act)]
    wire = Wire(asks(use("act", {})), asks(use("act", {}), use("act", {}, id="toolu_2")), DONE)
    messages = copy.deepcopy(ASKED)
    with pytest.raises(error):
        converse(wire, messages, tools=tools, stream=stream)
    assert [entry["role"] for entry in messages] == ["user", "assistant", "user"], "the first turn stays"
    assert the_api_takes(messages)
    assert converse(wire, messages, tools=tools, stream=stream).stop_reason == "end_turn"


@pytest.mark.parametrize("reply", [message(), message(text("No"), stop_reason="refusal")])
def test_an_empty_or_refused_reply_is_left_out(converse, stream, reply):
    wire = Wire(reply, DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, stream=stream)
    assert messages == ASKED
    messages.append({"role": "assistant", "content": []})  # as a caller would who appends turn[1] unseen
    messages.append({"role": "user", "content": "Once more"})
    converse(wire, messages, stream=stream)
    assert [entry["role"] for entry in wire.requests[1]["messages"]] == ["user", "user"]


@pytest.mark.parametrize("reason", ["pause_turn", "compaction"])
def test_a_reply_that_the_api_paused_goes_on(converse, stream, reason):
    wire = Wire(message(text("Half"), stop_reason=reason), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, stream=stream)
    assert wire.requests[1]["messages"] == [*ASKED, {"role": "assistant", "content": [text("Half")]}]


@pytest.mark.parametrize("reason", ["pause_turn", "compaction"])
def test_a_tool_use_in_a_paused_reply_is_not_answered(converse, stream, reason):
    """The SDK's own runner sends such a reply back as the last message, and runs nothing."""
    wire = Wire(message(text("Half"), use("act", {}), stop_reason=reason), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, tools=[tool_that(lambda: "ran")], stream=stream)
    assert [entry["role"] for entry in wire.requests[1]["messages"]] == ["user", "assistant"]


class InterruptedList(list):
    """A conversation on which Ctrl-C comes as soon as one message was added."""

    def append(self, message):
        super().append(message)
        raise KeyboardInterrupt


def test_an_interrupt_leaves_no_tool_use_without_its_result(converse, stream):
    messages = InterruptedList(copy.deepcopy(ASKED))
    wire = Wire(asks(use("act", {})), DONE)
    with contextlib.suppress(KeyboardInterrupt):
        converse(wire, messages, tools=[tool_that(lambda: "ran")], stream=stream)
    assert the_api_takes(list(messages))


class Stock(pydantic.BaseModel):
    item: str
    count: int = 0


def test_what_a_tool_left_at_its_default_is_told_too(converse, stream):
    _, [result] = after(converse, stream, [use("act", {})], lambda: Stock(item="x"))
    assert json.loads(result["content"]) == Stock(item="x").model_dump()


def test_a_table_is_told_with_what_is_in_it(converse, stream):
    _, [result] = after(converse, stream, [use("act", {})], lambda: pandas.DataFrame({"part": ["bolt"]}))
    assert "bolt" in result["content"]


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=3)
    | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(anything, st.booleans())
def test_a_result_is_text_or_blocks_and_can_be_encoded(returned, is_error):
    result = tool_result(ToolUse("toolu_1", "act", {}), returned, is_error)
    json.dumps(result, ensure_ascii=False, allow_nan=False).encode()
    content = result["content"]
    assert isinstance(content, str) or all(block["type"] for block in content)
    if is_error:
        assert content
        assert isinstance(content, str) or {block["type"] for block in content} == {"text"}


LOOKS_LIKE_BLOCKS = {
    "symbols": [{"type": "function", "name": "parse"}],
    "a text without its text": [{"type": "text", "name": "notes.txt"}],
    "a text with a field of its own": [{"type": "text", "text": "x = 1", "language": "python"}],
    "a blank text": [{"type": "text", "text": " \n"}],
    "a picture by its path": [{**PICTURE, "source": {**PICTURE["source"], "data": "/srv/plot.png"}}],
    "a document without its source": [{"type": "document", "title": "Report"}],
    "another model's reply": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, text("Fine.")],
    "a reply that asks for a tool": [use("act", {})],
}
BLOCKS = {
    "text": [text("Fine.")],
    "image": [PICTURE],
    "search result": [
        {"type": "search_result", "source": "wiki", "title": "Locks", "content": [text("Take it once.")]}
    ],
}


@pytest.mark.parametrize("name", [*LOOKS_LIKE_BLOCKS, *BLOCKS])
def test_only_what_the_api_takes_is_sent_as_blocks(converse, name, stream):
    """Anything else would be refused, with every later request of the conversation as well."""
    returned = {**LOOKS_LIKE_BLOCKS, **BLOCKS}[name]
    wire = Wire(asks(use("act", {})), DONE)
    messages = copy.deepcopy(ASKED)
    converse(wire, messages, tools=[tool_that(lambda: returned)], stream=stream)
    content = messages[2]["content"][0]["content"]
    assert content == returned if name in BLOCKS else json.loads(content) == returned
    assert the_api_takes(messages)
