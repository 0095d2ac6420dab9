"""What the live API answered, and what it was sent back: recorded by others, played to our loop."""

import json
from pathlib import Path

import pytest
from anthropic import beta_tool
from wire import EVENTS, JSON, Wire

from memory_demo.demo_helpers import ConversationChangedError

RECORDED = Path(__file__).parent / "recorded"


def recorded(name):
    path = RECORDED / name
    return json.loads(path.read_text("utf-8")) if path.suffix == ".json" else path.read_bytes()


@beta_tool
def get_user_country() -> str:
    """Country."""
    return "Mexico"


class Memory:
    def execute(self, params=None, /):
        assert params == {"command": "view", "path": "/memories"}
        return {"success": "The user lives in Mexico City."}


def without_is_error_false(messages):
    """`is_error` may be left out when it is false; the recorded client writes it."""
    return json.loads(json.dumps(messages).replace('"is_error": false, ', ""))


@pytest.mark.parametrize(
    ("name", "memory", "tools"),
    [("memory_tool.json", Memory(), []), ("tool_with_thinking.json", None, [get_user_country])],
)
def test_what_goes_back_is_what_the_api_was_sent_when_it_answered(converse, name, memory, tools):
    first, second = recorded(name)
    wire = Wire(first["response"], second["response"])
    messages = first["request"]["messages"]
    response = converse(wire, messages, memory, tools=tools)
    assert wire.requests[1]["messages"] == without_is_error_false(second["request"]["messages"])
    assert response.content[0].text == second["response"]["content"][0]["text"]
    assert messages[-1] == {"role": "assistant", "content": second["response"]["content"]}
    if memory:
        assert wire.requests[0]["tools"] == first["request"]["tools"]


def converse_streamed(converse, name):
    turns = []
    messages = [{"role": "user", "content": "As recorded"}]
    converse(Wire((200, EVENTS, recorded(name))), messages, stream=True, on_turn=turns.append)
    return messages[1]["content"], turns[0]


def test_a_streamed_thinking_block_is_what_the_recorded_client_sent_back(converse):
    content, turn = converse_streamed(converse, "thinking_streamed.sse")
    assert json.loads(json.dumps(content)) == recorded("changed_system_prompt.json")["next_request_content"]
    assert (turn.input_tokens, turn.output_tokens) == (45, 226)


def test_the_api_s_own_refusal_of_a_changed_conversation(converse, stream):
    refusal = recorded("changed_system_prompt.json")
    wire = Wire((refusal["status"], JSON, json.dumps(refusal["response"]).encode()))
    messages = [{"role": "user", "content": "And times two?"}]
    with pytest.raises(ConversationChangedError, match="The `system` prompt differs") as caught:
        converse(wire, messages, stream=stream)
    assert "\n" not in str(caught.value)
    assert messages == [{"role": "user", "content": "And times two?"}]


@pytest.mark.parametrize(
    "words",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
        "modified. These blocks must remain as they were in the original response.",
    ],
)
def test_other_ways_in_which_the_api_says_so(converse, words):
    """The first is the start of the recorded one; the second is in the API's documentation of extended thinking."""
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    with pytest.raises(ConversationChangedError):
        converse(Wire((400, JSON, json.dumps(error).encode())), [{"role": "user", "content": "Go on"}])


def test_compaction_goes_back_whole_and_all_its_tokens_count(converse):
    content, turn = converse_streamed(converse, "compaction_streamed.sse")
    assert [block["type"] for block in content] == ["compaction", "text"]
    assert content[0]["content"].startswith("The user provided a very long context")
    assert content[1]["text"] == "Hello! \N{WAVING HAND SIGN}"
    assert turn.response.usage.input_tokens == 181, "the last iteration's alone"
    assert turn.input_tokens == 100 + 55_096 + 181
    assert turn.output_tokens == 83 + 8


def test_what_the_server_ran_is_sent_back_and_not_run_here(converse):
    content, turn = converse_streamed(converse, "code_execution_streamed.sse")
    assert [block["type"] for block in content] == [
        "server_tool_use",
        "bash_code_execution_tool_result",
        "text",
    ]
    assert content[0]["input"] == {"command": 'python3 -c "print(2 + 2)"'}
    assert content[1]["content"]["stdout"] == "4\n"
    assert turn.tool_results == []
    assert turn.input_tokens == 4765
