"""Thinking blocks: when there are any, what they show, and what happens when they come back."""

import copy

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_demo.offline import Reply, offline_client

MODEL = "claude-sonnet-5-5"
BINDING_BETA = "thinking-binding-controls-2026-08-01"
LOOK = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
BOUND = "The block is bound to a different conversation"
ADAPTIVE = {"type": "adaptive"}


def respond(prompt):
    return Reply(({"type": "text", "text": f"Answer {len(prompt.messages)}."},), thinking="Let me see.")


def ask(history, **changes):
    request = {"model": MODEL, "max_tokens": 100, "system": "Be brief.", "tools": [LOOK], "messages": history}
    return offline_client(respond).beta.messages.create(**{**request, **changes})


def block_of(message):
    return next((block for block in message.content if block.type == "thinking"), None)


def talk(turns, **changes):
    """A conversation of so many answered questions, and one more question."""
    history = []
    for number in range(turns):
        history.append({"role": "user", "content": f"Question {number}?"})
        content = [block.to_dict() for block in ask(history, **changes).content]
        history.append({"role": "assistant", "content": content})
    return [*history, {"role": "user", "content": "And now?"}]


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        (MODEL, None, ""),
        (MODEL, ADAPTIVE, ""),
        (MODEL, {**ADAPTIVE, "display": "omitted"}, ""),
        (MODEL, {**ADAPTIVE, "display": "summarized"}, "Let me see."),
        (MODEL, {"type": "between_tools"}, None),
        ("claude-haiku-5-5", {"type": "disabled"}, None),
        ("claude-opus-4-8", None, None),
        ("claude-opus-4-8", ADAPTIVE, ""),
        ("claude-haiku-4-5", {"type": "enabled", "budget_tokens": 1024}, "Let me see."),
    ],
)
def test_thinking_follows_model_and_settings(model, thinking, expected):
    changes = {"thinking": thinking} if thinking else {}
    block = block_of(ask([{"role": "user", "content": "x"}], model=model, max_tokens=2000, **changes))
    assert (block and block.thinking) == expected
    assert block is None or block.signature


def test_an_append_only_conversation_goes_on():
    assert ask(talk(4)).content[-1].text == "Answer 9."


@given(st.integers(0, 6), st.sampled_from(["drop", "change", "insert"]))
def test_changing_anything_before_a_thinking_block_is_refused(position, how):
    history = talk(4)
    message = history[position]
    if how == "drop":
        del history[position]
    elif how == "insert":
        history.insert(position, {"role": message["role"], "content": "Note to self."})
    elif message["role"] == "user":
        message["content"] += "!"
    else:
        message["content"][-1]["text"] += "!"
    with pytest.raises(anthropic.BadRequestError):
        ask(history)


REFUSED = (
    "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation. "
    'Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)


@pytest.mark.parametrize("tools", [[], [{**LOOK, "description": "x"}]])
def test_changing_tools_is_refused(tools):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(talk(2), tools=tools)
    assert caught.value.body["error"]["message"] == (
        f"{REFUSED} That setting requires the `{BINDING_BETA}` value in the `anthropic-beta` header."
    )


def test_changing_the_system_prompt_is_refused_in_the_recorded_words():
    """claude-sonnet-5-5, October 2026, in the public test suite of pydantic-ai."""
    thinking = {**ADAPTIVE, "block_binding": {"prefix_mismatch_behavior": "error"}}
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(talk(1), system="Be long.", thinking=thinking, betas=[BINDING_BETA])
    assert caught.value.body["error"]["message"] == (
        f"{REFUSED} The `system` prompt differs from the one this block was created with."
    )


def test_editing_history_is_refused_where_the_first_block_no_longer_fits():
    history = talk(3)
    history[2]["content"] = "Something else."
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.3\.content\.0: .*" + BOUND):
        ask(history)


@pytest.mark.parametrize("field", ["thinking", "signature"])
@pytest.mark.parametrize("value", ["", "x", "b2ZmbGluZXx4"])
def test_an_altered_block_is_refused(field, value):
    history = talk(1, thinking={**ADAPTIVE, "display": "summarized"})
    history[1]["content"][0][field] = value
    with pytest.raises(
        anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking` block"
    ):
        ask(history)


def test_a_block_of_another_reply_is_refused():
    history, other = talk(2), talk(2, system="Other.")
    history[3]["content"][0] = other[3]["content"][0]
    with pytest.raises(anthropic.BadRequestError, match=BOUND):
        ask(history)


def test_redacted_thinking_is_refused_since_none_was_given():
    history = talk(1)
    history[1]["content"][0] = {"type": "redacted_thinking", "data": "x"}
    with pytest.raises(anthropic.BadRequestError, match="Invalid `data` in `redacted_thinking` block"):
        ask(history)


def without_thinking(history, *numbers):
    history = copy.deepcopy(history)
    for number in numbers:
        history[2 * number + 1]["content"] = history[2 * number + 1]["content"][1:]
    return history


@pytest.mark.parametrize("numbers", [(0,), (0, 1), (0, 1, 2), (2,), (1, 2)])
def test_leaving_out_the_oldest_or_newest_thinking_is_fine(numbers):
    assert ask(without_thinking(talk(3), *numbers)).type == "message"


def test_leaving_out_thinking_between_other_thinking_is_refused():
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.5\.content\.0: .*" + BOUND):
        ask(without_thinking(talk(3), 1))


def test_cache_marks_may_move_and_a_string_may_become_a_block():
    history = talk(2)
    marked = {"type": "text", "text": history[0]["content"], "cache_control": {"type": "ephemeral"}}
    history[0]["content"] = [marked]
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert ask(history, system=system, cache_control={"type": "ephemeral"}).type == "message"


def test_context_editing_does_not_break_the_binding():
    beta = "context-management-2025-06-27"
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "tool_uses", "value": 1},
        "keep": {"type": "tool_uses", "value": 0},
    }

    def look(prompt):
        return Reply(({"type": "tool_use", "name": "look", "input": {}},))

    client = offline_client(look)
    history = [{"role": "user", "content": "Look."}]
    cleared = []
    for _ in range(4):
        message = client.beta.messages.create(
            model=MODEL,
            max_tokens=100,
            tools=[LOOK],
            messages=history,
            betas=[beta],
            context_management={"edits": [edit]},
        )
        cleared.append(sum(e.cleared_tool_uses for e in message.context_management.applied_edits))
        result = {"type": "tool_result", "tool_use_id": message.content[-1].id, "content": "y" * 500}
        history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    assert cleared == [0, 0, 2, 3]


def test_mismatched_blocks_are_dropped_on_request_and_named():
    history = talk(3)
    history[2]["content"] = "Something else."
    thinking = {**ADAPTIVE, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    message = ask(history, thinking=thinking, betas=[BINDING_BETA])
    assert [(drop.path, drop.reason) for drop in message.input_transformations] == [
        ("messages.3.content.0", "prefix_binding_mismatch"),
        ("messages.5.content.0", "prefix_binding_mismatch"),
    ]
    history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": "Go on."}]
    later = ask(history, thinking=thinking, betas=[BINDING_BETA])
    assert len(later.input_transformations) == 2


def test_blocks_of_another_model_are_dropped_without_an_error():
    history = talk(2)
    message = ask(history, model="claude-opus-5-5", betas=[BINDING_BETA])
    assert [drop.reason for drop in message.input_transformations] == ["model_binding_mismatch"] * 2
    assert ask(history, model="claude-opus-5-5").input_transformations is None
    history += [{"role": "assistant", "content": message.content}, {"role": "user", "content": "Go on."}]
    assert ask(history).type == "message"


def test_a_dropped_block_is_not_billed():
    history = talk(1, thinking={**ADAPTIVE, "display": "summarized"})
    kept = ask(history).usage.input_tokens
    dropped = ask(history, model="claude-opus-5-5").usage.input_tokens
    assert 0 < dropped < kept


def test_an_older_model_does_not_bind_its_thinking():
    history = talk(2, model="claude-opus-4-8", thinking=ADAPTIVE)
    history[0]["content"] = "Something else."
    assert ask(history, model="claude-opus-4-8", thinking=ADAPTIVE).type == "message"
