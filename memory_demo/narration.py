"""What a person sees of a running conversation: one line a tool call, told from what was asked and how it went.

`run_conversation_loop(..., on_turn=narrate)` prints the story as it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memory_demo.review_report import counted, printable

if TYPE_CHECKING:
    from memory_demo.demo_helpers import ToolCall, Turn


def narrate(turn: Turn) -> None:
    """Print the story of a turn."""
    for line in story(turn):
        print(line, flush=True)


def story(turn: Turn) -> list[str]:
    """A line for each tool call of a turn, and one for what context editing took out of its request."""
    lines = [f"  {sentence(call)}" for call in turn.tool_calls]
    if turn.cleared_input_tokens:
        lines.append(
            f"  (context editing kept {turn.cleared_input_tokens:,} input tokens out of this request)"
        )
    return lines


def sentence(call: ToolCall) -> str:
    """One tool call in one line: what was asked -> what came of it."""
    asked = _memory_asked(call.input) if call.name == "memory" else _asked(call)
    if call.is_error:
        return f"{_short(asked)} -> error: {_short(_text(call.result))}"
    done = _memory_done(call.input) if call.name == "memory" else _done(call)
    return f"{_short(asked)} -> {_short(done)}"


def _memory_asked(given: Mapping[str, Any]) -> str:
    words = (given.get(key) for key in ("command", "path", "old_path", "new_path"))
    return " ".join(["memory", *(str(word) for word in words if word is not None)])


def _memory_done(given: Mapping[str, Any]) -> str:
    match given:
        case {"command": "view", "view_range": [first, last]}:
            return f"lines {first} to {last} read"
        case {"command": "create", "file_text": str(text)}:
            return f"{_counted(text)} written"
        case {"command": "insert", "insert_text": str(text)}:
            return f"{_counted(text)} added"
        case {"command": str(command)}:
            done = {"view": "read", "str_replace": "edited", "delete": "deleted", "rename": "renamed"}
            return done.get(command, "done")
        case _:
            return "done"


def _asked(call: ToolCall) -> str:
    """A tool that we know nothing of: its name and the short ones of its values."""
    values = (str(value) for value in call.input.values())
    return " ".join([call.name, *(value for value in values if len(value) <= 40)])


def _done(call: ToolCall) -> str:
    result = _text(call.result)
    if call.name == "read_source":
        from memory_demo.source_tools import source_in

        return _counted(source_in(result))
    return result if len(result.splitlines()) <= 1 else _counted(result)


def _text(result: object) -> str:
    return result if isinstance(result, str) else "content that is not text"


def _counted(text: str) -> str:
    return counted(len(text.splitlines()), "line")


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= 100 else f"{line[:97]}..."
