from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_demo.offline.tokens import (
    MEMORY_TOOL_TOKENS,
    TOOL_USE_PROMPT_TOKENS,
    count_block,
    count_input,
    count_messages,
    estimate,
)

WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather in a given location",
    "input_schema": {
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
        },
        "required": ["location"],
    },
}


def test_english_is_about_two_and_a_half_to_three_characters_a_token() -> None:
    text = "Claude stores what it learns in files, and reads them back in later conversations. " * 50
    assert 2.5 < len(text) / estimate(text) < 3.0


@pytest.mark.parametrize(("value", "tokens"), [(None, 0), ("", 0), ("a", 1), ({}, 1), ("a" * 35, 13)])
def test_small_values(value: object, tokens: int) -> None:
    assert estimate(value) == tokens


def test_text_in_other_scripts_costs_more_a_character_and_broken_text_is_counted_too() -> None:
    assert estimate("記憶工具" * 10) > estimate("abcd" * 10)
    assert estimate("\ud800") > 0


def test_near_the_counts_in_the_documentation() -> None:
    """The token counting page gives 14 and 403 for these, the latter with another model's tool use prompt."""
    greeting = [{"role": "user", "content": "Hello, Claude"}]
    assert count_input("You are a scientist", None, greeting) == pytest.approx(14, abs=5)
    question = [{"role": "user", "content": "What's the weather like in San Francisco?"}]
    assert count_input(None, [WEATHER], question) == pytest.approx(403, rel=0.2)


def test_near_the_recorded_count_with_the_memory_tool() -> None:
    """1,581 for this request in the test suite of pydantic-ai (claude-sonnet-4-5)."""
    memory = {"type": "memory_20250818", "name": "memory"}
    assert count_input(None, [memory], [{"role": "user", "content": "What is 2 + 2?"}]) == pytest.approx(
        1581, abs=15
    )


def test_text_and_a_text_block_count_the_same() -> None:
    block = [{"type": "text", "text": "Review this file."}]
    as_blocks = count_input(block, None, [{"role": "user", "content": block}])
    assert as_blocks == count_input(
        "Review this file.", None, [{"role": "user", "content": "Review this file."}]
    )


def test_the_memory_tool_costs_its_definition_and_protocol() -> None:
    memory = {"type": "memory_20250818", "name": "memory"}
    with_weather = count_input(None, [WEATHER], [])
    assert count_input(None, [WEATHER, memory], []) == with_weather + MEMORY_TOOL_TOKENS
    assert count_input(None, [memory], []) == TOOL_USE_PROMPT_TOKENS + MEMORY_TOOL_TOKENS
    assert count_input(None, [], []) == 0


def test_an_image_costs_the_same_whatever_its_encoded_size() -> None:
    def image(data: str) -> dict[str, Any]:
        return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    assert count_block(image("A" * 1_000_000)) == count_block(image("A")) > 1000


def test_a_document_of_text_counts_by_its_text() -> None:
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "word " * 70}}
    blocks = {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "text", "text": "word " * 70}]},
    }
    assert count_block(text) == count_block(blocks) == estimate("word " * 70)


def test_structure_costs_tokens_without_content() -> None:
    assert count_messages([{"role": "user", "content": ""}]) > 0
    assert count_block({"type": "tool_result", "tool_use_id": "1"}) > 0
    assert count_block({"type": "tool_use", "id": "1", "name": "", "input": None}) > 0


def test_a_cache_mark_costs_nothing() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    for block in (
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "1", "name": "memory", "input": {"command": "view"}},
        {"type": "search_result", "title": "a"},
    ):
        assert count_block(block | mark) == count_block(block)
    assert count_input(None, [WEATHER | mark], []) == count_input(None, [WEATHER], [])


def test_thinking_counts_the_same_displayed_or_omitted() -> None:
    omitted = {"type": "thinking", "thinking": "", "signature": "c2ln" * 20}
    assert count_block(omitted) == count_block(omitted | {"thinking": "Let me look."}) > 0


contents = st.one_of(
    st.text(max_size=30),
    st.lists(st.text(max_size=30).map(lambda text: {"type": "text", "text": text}), max_size=3),
)
histories = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents})
)


@given(st.one_of(st.none(), contents), histories, histories)
@settings(max_examples=100, deadline=None)
def test_a_count_is_the_sum_of_its_parts(system: Any, first: Any, second: Any) -> None:
    whole = count_input(system, [WEATHER], first + second)
    assert whole == count_input(system, [WEATHER], first) + count_messages(second)


@given(st.text(), st.text())
@settings(max_examples=100, deadline=None)
def test_more_text_never_counts_less(text: str, more: str) -> None:
    assert estimate(text) <= estimate(text + more) <= estimate(text) + estimate(more)
