"""The turn loop against the stand-in with scripted replies: tools, stop reasons, records, append-only."""

import copy
import json
import logging

import pytest
from anthropic import beta_async_tool, beta_tool
from anthropic.lib.tools import ToolError

from memory_demo.demo_helpers import (
    ConversationChangedError,
    Turn,
    print_context_management_info,
    run_conversation_loop,
)
from memory_demo.offline import OfflineAPI, client_for, offline_client
from memory_demo.offline.prompt import Prompt, Reply

MODEL = "claude-sonnet-5-5"
SYSTEM = "You review code."


def text(words, **reply):
    return Reply(({"type": "text", "text": words},), **reply)


def use(*calls, **reply):
    return Reply(tuple({"type": "tool_use", "name": name, "input": given} for name, given in calls), **reply)


class Script:
    """Answers with these replies in order and keeps what it was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.prompts: list[Prompt] = []

    def __call__(self, prompt):
        self.prompts.append(prompt)
        return self.replies[len(self.prompts) - 1]


class Notes:
    """A memory that answers every command with its own words."""

    def __init__(self):
        self.commands = []

    def execute(self, params=None, /):
        self.commands.append(params)
        if params.get("command") == "create":
            return {"success": f"File created successfully at: {params['path']}"}
        return {"error": "The path /memories/x does not exist. Please provide a valid path."}


@beta_tool
def word_count(words: str) -> str:
    """Count words.

    Args:
        words: What to count.
    """
    return str(len(words.split()))


def converse(script, messages=None, memory=None, **options):
    messages = [{"role": "user", "content": "Hello"}] if messages is None else messages
    client = offline_client(script, max_retries=0)
    return run_conversation_loop(client, MODEL, messages, memory, SYSTEM, **options), messages


def roles(messages):
    return [message["role"] for message in messages]


def results_of(message):
    return [(block["content"], block.get("is_error", False)) for block in message["content"]]


def test_a_reply_without_tools_ends_the_loop():
    response, messages = converse(Script(text("Hi.")))
    assert response.stop_reason == "end_turn"
    assert roles(messages) == ["user", "assistant"]


def test_all_tool_calls_of_a_turn_run_and_answer_in_one_message_in_order():
    memory = Notes()
    script = Script(
        use(
            ("memory", {"command": "create", "path": "/memories/a.md", "file_text": "x"}),
            ("word_count", {"words": "one two three"}),
            ("memory", {"command": "view", "path": "/memories/x"}),
        ),
        text("Done."),
    )
    _, messages = converse(script, memory=memory, tools=[word_count])
    assert roles(messages) == ["user", "assistant", "user", "assistant"]
    assert results_of(messages[2]) == [
        ("File created successfully at: /memories/a.md", False),
        ("3", False),
        ("The path /memories/x does not exist. Please provide a valid path.", True),
    ]
    assert [block["id"] for block in messages[1]["content"] if block["type"] == "tool_use"] == [
        block["tool_use_id"] for block in messages[2]["content"]
    ]


def test_thinking_blocks_go_back_with_the_reply():
    script = Script(use(("word_count", {"words": "a"}), thinking="Counting."), text("1", thinking="Counted."))
    _, messages = converse(script, tools=[word_count])
    assert [block["type"] for block in messages[1]["content"]] == ["thinking", "tool_use"]
    assert len(script.prompts) == 2, "the stand-in checks the signature of what came back"


@beta_tool
def refuses(words: str) -> str:
    """Refuse."""
    raise ToolError(f"{words} is not allowed")


@beta_tool
def breaks(words: str) -> str:
    """Break."""
    raise RuntimeError("the disk is on fire at /home/someone")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("refuses", {"words": "this"}), "this is not allowed"),
        (("word_count", {"wrong": 1}), "Invalid input for word_count: "),
        (("unheard_of", {}), "There is no tool unheard_of"),
    ],
)
def test_what_the_model_did_wrong_is_an_error_result_that_says_what(call, expected):
    _, messages = converse(Script(use(call), text("Sorry.")), tools=[refuses, word_count])
    [(content, is_error)] = results_of(messages[2])
    assert content.startswith(expected)
    assert is_error


def test_a_defect_in_a_tool_is_logged_and_its_details_stay_here(caplog):
    with caplog.at_level(logging.ERROR):
        _, messages = converse(Script(use(("breaks", {"words": "x"})), text("Sorry.")), tools=[breaks])
    [(content, is_error)] = results_of(messages[2])
    assert is_error
    assert "/home/someone" not in content
    assert "the disk is on fire" in caplog.text


def test_tools_that_the_loop_cannot_run_are_refused_before_any_request():
    @beta_async_tool
    async def later(words: str) -> str:
        """Later."""
        return words

    script = Script()
    with pytest.raises(TypeError, match="not a runnable tool for this client"):
        converse(script, tools=[later])
    with pytest.raises(ValueError, match="named 'word_count'"):
        converse(script, tools=[word_count, word_count])
    assert script.prompts == []


@pytest.mark.parametrize("stream", [False, True])
def test_max_turns_leaves_the_results_waiting_and_the_next_call_goes_on(stream, capsys):
    again = use(("word_count", {"words": "a b"}))
    script = Script(again, again, text("Two."))
    client = offline_client(script, max_retries=0)
    messages = [{"role": "user", "content": "Count"}]
    options = {"tools": [word_count], "max_turns": 2, "verbose": True, "stream": stream}
    response = run_conversation_loop(client, MODEL, messages, None, SYSTEM, **options)
    assert response.stop_reason == "tool_use"
    assert roles(messages) == ["user", "assistant", "user", "assistant", "user"]
    assert "max_turns=2" in capsys.readouterr().out
    response = run_conversation_loop(client, MODEL, messages, None, SYSTEM, **options)
    assert response.stop_reason == "end_turn"


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded"])
def test_a_cut_off_tool_use_is_answered_but_not_run(reason, capsys):
    memory = Notes()
    create = ("memory", {"command": "create", "path": "/memories/a.md", "file_text": "half of"})
    script = Script(use(create, stop_reason=reason), text("Going on."))
    response, messages = converse(script, memory=memory, verbose=True)
    assert response.stop_reason == reason
    assert memory.commands == []
    [(content, is_error)] = results_of(messages[2])
    assert is_error
    assert reason in content
    assert "cut off" in capsys.readouterr().out
    messages.append({"role": "user", "content": "Go on"})
    response, _ = converse(Script(text("Going on.")), messages, memory=memory)
    assert response.stop_reason == "end_turn", "the conversation is still valid to send"


def test_a_refused_turn_is_not_added_and_is_reported(capsys):
    response, messages = converse(Script(text("", stop_reason="refusal")), verbose=True)
    assert response.stop_reason == "refusal"
    assert roles(messages) == ["user"]
    assert "declined" in capsys.readouterr().out


def test_a_paused_turn_is_sent_back_to_be_continued():
    response, messages = converse(
        Script(text("First half,", stop_reason="pause_turn"), text(" second half."))
    )
    assert response.stop_reason == "end_turn"
    assert roles(messages) == ["user", "assistant", "assistant"]


def test_a_stop_sequence_ends_the_loop_and_is_named(capsys):
    response, _ = converse(Script(text("Before STOP after")), verbose=True, stop_sequences=["STOP"])
    assert response.stop_reason == "stop_sequence"
    assert response.content[-1].text == "Before "
    assert "'STOP'" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda messages, options: options.update(system="You write poems."),
        lambda messages, options: options.update(tools=[refuses]),
        lambda messages, options: messages[0].update(content="Something else"),
        lambda messages, options: messages.insert(1, {"role": "user", "content": "Between"}),
    ],
    ids=["system", "tools", "a message", "a message more"],
)
def test_a_conversation_whose_beginning_changed_is_refused_by_the_api_and_can_be_put_right(change):
    script = Script(text("One.", thinking="Hm."), text("Two."))
    client = offline_client(script, max_retries=0)
    messages = [{"role": "user", "content": "First"}]
    options = {"system": SYSTEM, "tools": [word_count]}
    run_conversation_loop(client, MODEL, messages, None, **options)
    messages.append({"role": "user", "content": "Second"})
    kept, kept_options = copy.deepcopy(messages), dict(options)
    change(messages, options)
    with pytest.raises(ConversationChangedError, match="bound to a different conversation"):
        run_conversation_loop(client, MODEL, messages, None, **options)
    assert run_conversation_loop(client, MODEL, kept, None, **kept_options).stop_reason == "end_turn"


def test_appending_is_no_change():
    script = Script(text("One."), text("Two."), text("Three."))
    client = offline_client(script, max_retries=0)
    messages = []
    for request in ("First", "Second", "Third"):
        messages.append({"role": "user", "content": request})
        run_conversation_loop(client, MODEL, messages, None, SYSTEM, tools=[word_count])
    assert len(script.prompts) == 3


@beta_tool
def upper(words: str) -> str:
    """Return the words in capitals: a result that is long enough to be cleared.

    Args:
        words: Any text.
    """
    return words.upper()


def test_on_turn_gets_a_record_of_each_turn():
    turns: list[Turn] = []
    words = "many words " * 400
    script = Script(use(("upper", {"words": words})), use(("upper", {"words": words})), text("Done."))
    edits = [
        {
            "type": "clear_tool_uses_20250919",
            "trigger": {"type": "tool_uses", "value": 1},
            "keep": {"type": "tool_uses", "value": 0},
            "clear_tool_inputs": True,
        }
    ]
    converse(script, tools=[upper], on_turn=turns.append, context_management={"edits": edits})
    assert [[call.name for call in turn.tool_calls] for turn in turns] == [["upper"], ["upper"], []]
    assert turns[0].tool_calls[0].result == words.upper()
    assert [turn.cleared_tool_uses for turn in turns] == [0, 0, 2]
    assert turns[2].cleared_input_tokens > 0
    assert turns[2].input_tokens < turns[1].input_tokens
    assert all(turn.seconds >= 0 and turn.output_tokens > 0 for turn in turns)


def test_print_context_management_info_says_what_was_cleared(capsys):
    response, _ = converse(Script(text("Hi.")))
    assert print_context_management_info(response) == (False, 0)
    printed = capsys.readouterr().out
    assert "cleared nothing" in printed
    assert f"{response.usage.input_tokens:,}" in printed


def test_verbose_prints_what_was_asked_and_what_came_back(capsys):
    memory = Notes()
    create = ("memory", {"command": "create", "path": "/memories/a.md", "file_text": "one\ntwo\n"})
    view = ("memory", {"command": "view", "path": "/memories/x"})
    converse(Script(use(create, view), text("All done.")), memory=memory, verbose=True)
    assert capsys.readouterr().out.splitlines() == [
        "[turn 1]",
        '  memory {"command": "create", "path": "/memories/a.md", "file_text": "one\\ntwo\\n"}',
        "    File created successfully at: /memories/a.md",
        '  memory {"command": "view", "path": "/memories/x"}',
        "    error: The path /memories/x does not exist. Please provide a valid path.",
        "[turn 2]",
        "All done.",
    ]


def test_what_is_none_is_not_said():
    script = Script(text("Hi."))
    converse(script, thinking=None, stop_sequences=None)
    assert len(script.prompts) == 1, "the strict stand-in takes no null"


def test_betas_of_the_caller_are_kept_beside_the_one_for_context_editing():
    api = OfflineAPI(Script(text("Hi."), text("Hi.")))
    for context_management in (None, {"edits": []}):
        run_conversation_loop(
            client_for(api),
            MODEL,
            [{"role": "user", "content": "Hello"}],
            None,
            SYSTEM,
            context_management,
            betas=["output-300k-2026-03-24"],
        )
    assert [request.headers["anthropic-beta"] for request in api.requests] == [
        "output-300k-2026-03-24",
        "context-management-2025-06-27,output-300k-2026-03-24",
    ]


def test_text_that_stdout_cannot_encode_is_no_error(monkeypatch):
    import io
    import sys

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    converse(Script(text("Found \N{BUG} in caf\N{LATIN SMALL LETTER E WITH ACUTE}.")), verbose=True)
    sys.stdout.flush()
    assert b"Found ? in caf?." in raw.getvalue()


@pytest.mark.parametrize("stream", [False, True])
def test_text_cannot_steer_the_terminal(capsys, stream):
    converse(Script(text("Fine.\x1b[2J\x9b0m\r!")), verbose=True, stream=stream)
    assert "Fine.\ufffd[2J\ufffd0m\ufffd!" in capsys.readouterr().out


def test_streamed_and_plain_give_the_same_conversation():
    def run(stream):
        script = Script(use(("word_count", {"words": "a b"}), thinking="Hm."), text("Two words."))
        _, messages = converse(script, tools=[word_count], stream=stream)
        return json.dumps(messages)

    assert run(True) == run(False)
