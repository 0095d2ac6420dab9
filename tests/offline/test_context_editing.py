from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
from anthropic.types.beta import (
    BetaClearThinking20251015EditResponse,
    BetaClearToolUses20250919EditResponse,
    BetaContextManagementResponse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_demo.offline.context_editing import (
    CLEARED,
    SHORT_RESULT,
    edit_context,
    is_cleared,
)
from memory_demo.offline.tokens import count_input

TOOLS = ("read_source", "memory", "report_finding")
LONG = "def charge(amount):\n    return amount * 100\n" * 20


def count(messages: Sequence[Mapping[str, Any]]) -> int:
    return count_input("You review code.", [{"name": "read_source", "input_schema": {}}], messages)


def call(id: str, name: str = "read_source", **input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def result(id: str, content: Any = LONG, **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **fields}


def thinking(signature: str = "s" * 80) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "", "signature": signature}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def conversation(*names: str) -> list[dict[str, Any]]:
    """One call a turn: ids are the positions, "0", "1", ..."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Review these files."}]
    for index, name in enumerate(names):
        messages += [assistant(call(str(index), name, path=f"{index}.py")), user(result(str(index)))]
    return messages


def clear_tool_uses(trigger: int = 0, keep: int = 0, **options: Any) -> dict[str, Any]:
    return {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": trigger},
        "keep": {"type": "tool_uses", "value": keep},
        **options,
    }


def clear_thinking(turns: int) -> dict[str, Any]:
    return {"type": "clear_thinking_20251015", "keep": {"type": "thinking_turns", "value": turns}}


def blocks(messages: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [
        b for m in messages if not isinstance(m["content"], str) for b in m["content"] if b["type"] == kind
    ]


def cleared_ids(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [block["tool_use_id"] for block in blocks(messages, "tool_result") if is_cleared(block)]


class TestToolUses:
    def test_defaults_are_a_hundred_thousand_tokens_and_three_uses(self) -> None:
        edit = {"type": "clear_tool_uses_20250919"}
        messages = conversation(*["read_source"] * 5)
        messages[2] = user(result("0", "x" * 250_000))
        assert count(messages) < 100_000
        assert edit_context(messages, [edit], count) == (tuple(messages), ())

        messages[4] = user(result("1", "x" * 50_000))
        assert count(messages) > 100_000
        edited, (applied,) = edit_context(messages, [edit], count)
        assert cleared_ids(edited) == ["0", "1"]
        assert applied.as_response() == {
            "type": "clear_tool_uses_20250919",
            "cleared_tool_uses": 2,
            "cleared_input_tokens": count(messages) - count(edited),
        }

    def test_documented_advanced_configuration(self) -> None:
        edit = {
            "type": "clear_tool_uses_20250919",
            "trigger": {"type": "input_tokens", "value": 30000},
            "keep": {"type": "tool_uses", "value": 3},
            "clear_at_least": {"type": "input_tokens", "value": 5000},
            "exclude_tools": ["web_search"],
            "clear_tool_inputs": False,
        }
        messages = conversation(
            "web_search", "get_weather", "get_weather", "web_search", "get_weather", "get_weather"
        )
        for index in range(6):
            messages[2 + 2 * index] = user(result(str(index), "sunny " * 3000))
        edited, (applied,) = edit_context(messages, [edit], count)
        assert cleared_ids(edited) == ["1"]
        assert blocks(edited, "tool_use") == blocks(messages, "tool_use")
        assert applied.cleared == 1 and applied.cleared_input_tokens >= 5000

    def test_uses_of_excluded_tools_take_up_no_place_among_the_kept(self) -> None:
        messages = conversation("read_source", "read_source", "read_source", "memory", "memory")
        edited, _ = edit_context(messages, [clear_tool_uses(keep=2, exclude_tools=["memory"])], count)
        assert cleared_ids(edited) == ["0"]

    def test_short_results_stay_and_take_up_no_place_among_the_kept(self) -> None:
        messages = conversation(*["read_source"] * 4)
        messages[2] = user(result("0", "x" * SHORT_RESULT))
        messages[8] = user(
            result("3", [{"type": "text", "text": "x" * 20}, {"type": "text", "text": "y" * 34}])
        )
        edited, _ = edit_context(messages, [clear_tool_uses(keep=1)], count)
        assert cleared_ids(edited) == ["1"]
        messages[2] = user(result("0", "x" * (SHORT_RESULT + 1)))
        assert cleared_ids(edit_context(messages, [clear_tool_uses(keep=1)], count).messages) == ["0", "1"]

    def test_an_image_is_never_short(self) -> None:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
        messages = [{"role": "user", "content": "Go."}, assistant(call("a")), user(result("a", [image]))]
        assert cleared_ids(edit_context(messages, [clear_tool_uses()], count).messages) == ["a"]

    @pytest.mark.parametrize("kind", ["str", "blocks"])
    def test_what_counts_towards_a_tool_uses_trigger(self, kind: str) -> None:
        """Uses with a short result do, uses of excluded tools do not."""
        short = "ok" if kind == "str" else [{"type": "text", "text": "ok"}]
        messages = conversation("read_source", "read_source", "read_source", "memory")
        messages[4] = user(result("1", short))
        edit = clear_tool_uses(exclude_tools=["memory"])
        at = edit | {"trigger": {"type": "tool_uses", "value": 3}}
        below = edit | {"trigger": {"type": "tool_uses", "value": 2}}
        assert cleared_ids(edit_context(messages, [at], count).messages) == []
        assert cleared_ids(edit_context(messages, [below], count).messages) == ["0", "2"]

    def test_parallel_calls_are_kept_by_the_order_of_the_calls(self) -> None:
        messages = [
            {"role": "user", "content": "Go."},
            assistant(call("a"), call("b"), call("c")),
            user(result("c"), result("a"), result("b")),
        ]
        edited, _ = edit_context(messages, [clear_tool_uses(keep=1)], count)
        assert cleared_ids(edited) == ["a", "b"]

    def test_a_cleared_result_keeps_its_error_flag_and_loses_images(self) -> None:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
        messages = [
            {"role": "user", "content": "Go."},
            assistant(call("a")),
            user(result("a", [{"type": "text", "text": LONG}, image], is_error=True)),
        ]
        edited, _ = edit_context(messages, [clear_tool_uses()], count)
        assert edited[2]["content"] == [result("a", CLEARED, is_error=True)]

    @pytest.mark.parametrize(
        ("setting", "expected"),
        [
            (False, [{"path": "0.py"}, {"path": "1.py"}, {"path": "2.py"}]),
            (None, [{"path": "0.py"}, {"path": "1.py"}, {"path": "2.py"}]),
            (True, [{}, {}, {"path": "2.py"}]),
            (["memory"], [{"path": "0.py"}, {}, {"path": "2.py"}]),
        ],
    )
    def test_clear_tool_inputs(self, setting: object, expected: list[dict[str, str]]) -> None:
        messages = conversation("read_source", "memory", "memory")
        edited, _ = edit_context(messages, [clear_tool_uses(keep=1, clear_tool_inputs=setting)], count)
        assert [block["input"] for block in blocks(edited, "tool_use")] == expected
        assert cleared_ids(edited) == ["0", "1"]

    def test_a_use_with_a_short_result_keeps_its_input(self) -> None:
        messages = [
            {"role": "user", "content": "Go."},
            assistant(call("a", path=LONG), call("b", path=LONG), call("c", path=LONG)),
            user(result("a"), {"type": "tool_result", "tool_use_id": "b"}, result("c", "ok")),
        ]
        edited, (applied,) = edit_context(messages, [clear_tool_uses(clear_tool_inputs=True)], count)
        assert applied.cleared == 1
        assert [block["input"] for block in blocks(edited, "tool_use")] == [
            {},
            {"path": LONG},
            {"path": LONG},
        ]
        assert edited[2]["content"][1:] == messages[2]["content"][1:]

    def test_ids_may_repeat_in_different_turns(self) -> None:
        messages = conversation("read_source", "read_source")
        messages[3], messages[4] = assistant(call("0")), user(result("0"))
        assert cleared_ids(edit_context(messages, [clear_tool_uses()], count).messages) == ["0", "0"]

    def test_an_edit_that_would_not_shrink_the_prompt_is_not_applied(self) -> None:
        almost = "x" * (SHORT_RESULT + 1)
        messages = [{"role": "user", "content": "Go."}, assistant(call("a")), user(result("a", almost))]
        assert edit_context(messages, [clear_tool_uses()], count) == (tuple(messages), ())


class TestThinking:
    def test_a_turn_goes_on_through_tool_results(self) -> None:
        messages = [
            {"role": "user", "content": "First."},
            assistant(thinking(), call("a")),
            user(result("a")),
            assistant({"type": "redacted_thinking", "data": "d" * 80}, {"type": "text", "text": "Done."}),
            {"role": "user", "content": "Second."},
            assistant({"type": "text", "text": "No thought."}),
            {"role": "user", "content": "Third."},
            assistant(thinking(), call("b")),
            user(result("b")),
            assistant(thinking(), call("c")),
            user(result("c")),
        ]
        edited, (applied,) = edit_context(messages, [clear_thinking(1)], count)
        assert [len(m["content"]) for m in edited if m["role"] == "assistant"] == [1, 1, 1, 2, 2]
        assert applied.as_response() == {
            "type": "clear_thinking_20251015",
            "cleared_thinking_turns": 1,
            "cleared_input_tokens": count(messages) - count(edited),
        }
        assert edit_context(messages, [clear_thinking(2)], count) == (tuple(messages), ())

    @pytest.mark.parametrize("keep", ["all", {"type": "all"}, None])
    def test_all_is_kept_on_request_and_by_default(self, keep: object) -> None:
        edit = {"type": "clear_thinking_20251015"} | ({"keep": keep} if keep else {})
        messages = [m for n in "12" for m in (user({"type": "text", "text": n}), assistant(thinking()))]
        assert edit_context(messages, [edit], count) == (tuple(messages), ())

    def test_older_models_keep_the_last_turn_by_default(self) -> None:
        messages = [m for n in "12" for m in (user({"type": "text", "text": n}), assistant(thinking()))]
        last = {"type": "thinking_turns", "value": 1}
        edit = {"type": "clear_thinking_20251015"}
        edited, (applied,) = edit_context(messages, [edit], count, default_thinking_keep=last)
        assert applied.cleared == 1
        assert [m["content"] for m in edited if m["role"] == "assistant"] == [[], [thinking()]]

    def test_tool_trigger_sees_the_prompt_without_the_cleared_thinking(self) -> None:
        messages = conversation("read_source", "read_source")
        messages[1]["content"].insert(0, thinking())
        messages += [assistant({"type": "text", "text": "Done."}), {"role": "user", "content": "More."}]
        messages += [assistant(thinking("t")), {"role": "user", "content": "Again."}]
        without = count(edit_context(messages, [clear_thinking(1)], count).messages)
        at, below = clear_tool_uses(trigger=without), clear_tool_uses(trigger=without - 1)
        assert [e.type for e in edit_context(messages, [clear_thinking(1), at], count).applied_edits] == [
            "clear_thinking_20251015"
        ]
        assert len(edit_context(messages, [clear_thinking(1), below], count).applied_edits) == 2


class TestEdits:
    def test_responses_are_the_shapes_of_the_sdk(self) -> None:
        messages = conversation("read_source", "read_source")
        messages[1]["content"].insert(0, thinking())
        messages += [assistant({"type": "text", "text": "Done."}), {"role": "user", "content": "More."}]
        messages += [assistant(thinking()), {"role": "user", "content": "Again."}]
        edited = edit_context(messages, [clear_thinking(1), clear_tool_uses()], count)
        response = {"applied_edits": [applied.as_response() for applied in edited.applied_edits]}
        parsed = BetaContextManagementResponse.model_validate(response)
        assert [type(applied) for applied in parsed.applied_edits] == [
            BetaClearThinking20251015EditResponse,
            BetaClearToolUses20250919EditResponse,
        ]
        assert parsed.model_dump() == response


texts = st.text("ab é", max_size=60).map(lambda text: text * 4)
inputs = st.dictionaries(st.sampled_from(["path", "command"]), texts, max_size=2)
images = st.just({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}})
contents = st.one_of(
    texts,
    st.none(),
    st.just(CLEARED),
    st.lists(st.one_of(texts.map(lambda text: {"type": "text", "text": text}), images), max_size=2),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(texts)})
        for step in range(draw(st.integers(0, 3))):
            names = draw(st.lists(st.sampled_from(TOOLS), min_size=1, max_size=3))
            calls = [call(f"{turn}.{step}.{n}", name, **draw(inputs)) for n, name in enumerate(names)]
            thoughts = [thinking(draw(texts))] if draw(st.booleans()) else []
            results = [result(use["id"], draw(contents), is_error=draw(st.booleans())) for use in calls]
            messages += [assistant(*thoughts, *calls), user(*draw(st.permutations(results)))]
        if turn < 2:
            messages.append(assistant({"type": "text", "text": draw(texts)}))
    return messages


numbers = st.integers(0, 6)
tool_edits = st.builds(
    lambda trigger, keep, at_least, excluded, inputs: {
        "type": "clear_tool_uses_20250919",
        "trigger": trigger,
        "keep": {"type": "tool_uses", "value": keep},
        "clear_at_least": at_least,
        "exclude_tools": excluded,
        "clear_tool_inputs": inputs,
    },
    st.one_of(
        st.builds(lambda n: {"type": "input_tokens", "value": n}, st.integers(0, 900)),
        st.builds(lambda n: {"type": "tool_uses", "value": n}, numbers),
    ),
    numbers,
    st.one_of(st.none(), st.builds(lambda n: {"type": "input_tokens", "value": n}, st.integers(0, 200))),
    st.lists(st.sampled_from(TOOLS), max_size=2),
    st.one_of(st.booleans(), st.lists(st.sampled_from(TOOLS), max_size=2)),
)
thinking_edits = st.one_of(
    st.builds(clear_thinking, st.integers(1, 3)), st.just({"type": "clear_thinking_20251015", "keep": "all"})
)
edit_lists = st.builds(
    lambda first, second: first + second,
    st.lists(thinking_edits, max_size=1),
    st.lists(tool_edits, max_size=1),
)


class TestProperties:
    @given(conversations(), edit_lists)
    @settings(max_examples=150, deadline=None)
    def test_tokens_before_less_after_are_the_cleared_tokens(self, messages: Any, edits: Any) -> None:
        edited = edit_context(messages, edits, count)
        cleared = [applied.cleared_input_tokens for applied in edited.applied_edits]
        assert count(messages) - count(edited.messages) == sum(cleared)
        assert all(tokens > 0 for tokens in cleared)
        assert all(applied.cleared > 0 for applied in edited.applied_edits)

    @given(conversations(), edit_lists)
    @settings(max_examples=100, deadline=None)
    def test_nothing_is_changed_in_place_and_the_untouched_is_returned(
        self, messages: Any, edits: Any
    ) -> None:
        before = deepcopy(messages)
        edited = edit_context(messages, edits, count).messages
        assert messages == before
        assert all(new is old for new, old in zip(edited, messages, strict=True) if new == old)

    @given(conversations(), edit_lists)
    @settings(max_examples=100, deadline=None)
    def test_editing_the_edited_messages_clears_nothing(self, messages: Any, edits: Any) -> None:
        """With one edit of a kind: a second one could clear what an edit before it was refused."""
        once = edit_context(messages, edits, count).messages
        assert edit_context(once, edits, count) == (once, ())

    @given(conversations(), tool_edits)
    @settings(max_examples=150, deadline=None)
    def test_what_a_tool_edit_clears(self, messages: Any, edit: Any) -> None:
        edited, applied = edit_context(messages, [edit], count)
        uses, after = blocks(messages, "tool_use"), blocks(edited, "tool_use")
        results = {block["tool_use_id"]: block for block in blocks(messages, "tool_result")}
        results_after = {block["tool_use_id"]: block for block in blocks(edited, "tool_result")}
        clearable = [
            use["id"]
            for use in uses
            if use["name"] not in edit["exclude_tools"] and not is_short(results[use["id"]]["content"])
        ]
        old = clearable[: max(0, len(clearable) - edit["keep"]["value"])] if applied else []
        assert sum(edit.cleared for edit in applied) == len(old)
        for use, use_after in zip(uses, after, strict=True):
            if use["id"] in old:
                assert results_after[use["id"]] == {**results[use["id"]], "content": CLEARED}
            else:
                assert (use_after, results_after[use["id"]]) == (use, results[use["id"]])

    @given(conversations(), tool_edits)
    @settings(max_examples=100, deadline=None)
    def test_a_tool_edit_keeps_every_block_in_its_place(self, messages: Any, edit: Any) -> None:
        edited = edit_context(messages, [edit], count).messages
        assert [skeleton(message) for message in edited] == [skeleton(message) for message in messages]

    @given(conversations(), edit_lists)
    @settings(max_examples=100, deadline=None)
    def test_every_tool_use_has_its_result_in_the_next_message(self, messages: Any, edits: Any) -> None:
        edited = edit_context(messages, edits, count).messages
        for index, message in enumerate(edited):
            ids = {block["id"] for block in blocks([message], "tool_use")}
            if ids:
                assert {block["tool_use_id"] for block in blocks([edited[index + 1]], "tool_result")} == ids

    @given(conversations(), tool_edits)
    @settings(max_examples=100, deadline=None)
    def test_clear_at_least_is_the_exact_boundary(self, messages: Any, edit: Any) -> None:
        free = edit_context(messages, [edit | {"clear_at_least": None}], count)
        saved = count(messages) - count(free.messages)
        at = {"clear_at_least": {"type": "input_tokens", "value": saved}}
        beyond = {"clear_at_least": {"type": "input_tokens", "value": saved + 1}}
        assert edit_context(messages, [edit | at], count) == free
        assert edit_context(messages, [edit | beyond], count) == (tuple(messages), ())

    @given(conversations(), tool_edits)
    @settings(max_examples=100, deadline=None)
    def test_the_input_tokens_trigger_is_the_exact_boundary(self, messages: Any, edit: Any) -> None:
        def triggered_at(value: int) -> Any:
            trigger = {"trigger": {"type": "input_tokens", "value": value}}
            return edit_context(messages, [edit | trigger], count)

        assert triggered_at(count(messages) - 1) == triggered_at(0)
        assert triggered_at(count(messages)) == (tuple(messages), ())

    @given(conversations(), st.integers(1, 3))
    @settings(max_examples=100, deadline=None)
    def test_a_thinking_edit_removes_thinking_only_and_the_oldest_first(
        self, messages: Any, keep: int
    ) -> None:
        edited, applied = edit_context(messages, [clear_thinking(keep)], count)
        assert [without_thinking(m) for m in edited] == [without_thinking(m) for m in messages]
        had, has = thinking_turns(messages), thinking_turns(edited)
        if applied:
            assert len(has) == keep
            assert len(had) - len(has) == applied[0].cleared
        assert has == had[len(had) - len(has) :]


def is_short(content: Any) -> bool:
    if isinstance(content, list):
        return all(block["type"] == "text" for block in content) and is_short(
            "".join(block["text"] for block in content)
        )
    return content is None or len(content) <= SHORT_RESULT


def skeleton(message: Mapping[str, Any]) -> Any:
    if isinstance(message["content"], str):
        return message
    freed = {"tool_result": ("content",), "tool_use": ("input",)}
    kept = [{k: v for k, v in b.items() if k not in freed.get(b["type"], ())} for b in message["content"]]
    return {**message, "content": kept}


def without_thinking(message: Mapping[str, Any]) -> Any:
    if isinstance(message["content"], str):
        return message
    return {**message, "content": [block for block in message["content"] if block["type"] != "thinking"]}


def thinking_turns(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which turns have thinking; a user's words, which the strategy writes as a string, begin a turn."""
    turn, found = -1, set()
    for message in messages:
        if isinstance(message["content"], str):
            turn += 1
        elif blocks([message], "thinking"):
            found.add(turn)
    return sorted(found)
