"""The story is told from what was asked and how it went, whatever words the memory answers in."""

import pytest
from conversing import converse_sync
from wire import Wire, message, text, use

from memory_demo.demo_helpers import ToolCall
from memory_demo.narration import narrate, sentence
from memory_demo.source_tools import read_source_tool

CALLS = {
    "memory view /memories -> read": {"command": "view", "path": "/memories"},
    "memory view /memories/a.md -> lines 3 to 9 read": {
        "command": "view",
        "path": "/memories/a.md",
        "view_range": [3, 9],
    },
    "memory create /memories/a.md -> 2 lines written": {
        "command": "create",
        "path": "/memories/a.md",
        "file_text": "one\ntwo\n",
    },
    "memory str_replace /memories/a.md -> edited": {
        "command": "str_replace",
        "path": "/memories/a.md",
        "old_str": "x",
    },
    "memory insert /memories/a.md -> 1 line added": {
        "command": "insert",
        "path": "/memories/a.md",
        "insert_line": 0,
        "insert_text": "x",
    },
    "memory delete /memories/a.md -> deleted": {"command": "delete", "path": "/memories/a.md"},
    "memory rename /memories/a.md /memories/b.md -> renamed": {
        "command": "rename",
        "old_path": "/memories/a.md",
        "new_path": "/memories/b.md",
    },
    "memory burn -> done": {"command": "burn"},
    "memory 3 -> done": {"command": 3},
    "memory -> done": {},
}


@pytest.mark.parametrize("words", ["Here're the files and directories ...", "Fichier créé.", "", []])
@pytest.mark.parametrize("expected", CALLS)
def test_memory_calls_do_not_depend_on_the_handler_s_words(expected, words):
    assert sentence(ToolCall("memory", CALLS[expected], words, False)) == expected


def test_what_failed_is_not_told_as_done():
    given = {"command": "delete", "path": "/memories/a.md"}
    call = ToolCall("memory", given, "The path does not exist.", True)
    assert sentence(call) == "memory delete /memories/a.md -> error: The path does not exist."
    call = ToolCall("read_source", {"path": "a.py"}, "There is no file a.py.", True)
    assert sentence(call) == "read_source a.py -> error: There is no file a.py."


@pytest.mark.parametrize(
    ("result", "expected"),
    [("Noted.", "Noted."), ("a\nb\nc", "3 lines"), ([{"type": "image"}], "content that is not text")],
)
def test_another_tool_is_told_by_its_short_values_and_what_came_back(result, expected):
    given = {"file": "a.py", "line": 3, "cause": "word " * 20}
    assert (
        sentence(ToolCall("report_finding", given, result, False)) == f"report_finding a.py 3 -> {expected}"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", "0 lines"),
        ("x = 1\n", "1 line"),
        ("x = 1", "1 line"),
        ("a = [\n]\n", "2 lines"),
        ("\n\n", "2 lines"),
    ],
)
def test_of_a_file_that_was_read_its_own_lines_are_counted(tmp_path, text, lines):
    (tmp_path / "a.py").write_text(text, "utf-8")
    result = read_source_tool({"a.py": tmp_path / "a.py"}).call({"path": "a.py"})
    assert (
        sentence(ToolCall("read_source", {"path": "a.py"}, result, False)) == f"read_source a.py -> {lines}"
    )


def test_a_name_cannot_forge_a_line_or_steer_the_terminal():
    told = sentence(
        ToolCall(
            "memory", {"command": "view", "path": "/memories/a\n  memory view /memories/b\x1b[2J"}, "", False
        )
    )
    assert told == "memory view /memories/a memory view /memories/b\ufffd[2J -> read"
    assert (
        len(sentence(ToolCall("memory", {"command": "view", "path": "x" * 10_000}, "y" * 10_000, True))) < 250
    )


def test_as_a_callback_it_prints_a_line_a_tool_call(capsys):
    class Memory:
        def execute(self, params=None, /):
            return {"success": "anything"}

    asks = message(
        use("memory", {"command": "view", "path": "/memories"}),
        use("memory", {"command": "delete", "path": "/memories/a.md"}, id="toolu_2"),
        stop_reason="tool_use",
    )
    edits = {
        "applied_edits": [
            {"type": "clear_tool_uses_20250919", "cleared_tool_uses": 2, "cleared_input_tokens": 1234}
        ]
    }
    wire = Wire(asks, message(text("Done."), context_management=edits))
    converse_sync(wire, [{"role": "user", "content": "Go on"}], Memory(), on_turn=narrate)
    assert capsys.readouterr().out.splitlines() == [
        "  memory view /memories -> read",
        "  memory delete /memories/a.md -> deleted",
        "  (context editing kept 1,234 input tokens out of this request)",
    ]
