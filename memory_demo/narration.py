"""What a person sees of a running conversation: one line a tool call, told from what was asked and how it went.

`run_conversation_loop(..., on_turn=narrate)` prints the story as it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memory_demo.review_report import printable

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
    """One tool call in one line: what was done, or what was tried and why it failed."""
    did, tried = _memory(call) if call.name == "memory" else _other(call)
    if not call.is_error:
        return _short(did)
    return f"{_short(tried)}, which failed: {_short(_text(call.result))}"


def _memory(call: ToolCall) -> tuple[str, str]:
    given = call.input
    path, old, new = (_shown(given, key) for key in ("path", "old_path", "new_path"))
    match given.get("command"):
        case "view":
            where = path + _lines(given.get("view_range"))
            return f"looked at {where}", f"tried to look at {where}"
        case "create":
            size = _counted(str(given.get("file_text", "")))
            return f"wrote {path}, {size}", f"tried to write {path}"
        case "str_replace":
            return f"edited {path}", f"tried to edit {path}"
        case "insert":
            size = _counted(str(given.get("insert_text", "")))
            return f"added {size} to {path}", f"tried to add {size} to {path}"
        case "delete":
            return f"deleted {path}", f"tried to delete {path}"
        case "rename":
            return f"renamed {old} to {new}", f"tried to rename {old} to {new}"
        case command:
            return f"did {command!r} in memory", f"tried {command!r} in memory"


def _other(call: ToolCall) -> tuple[str, str]:
    """A tool that we know nothing of: its name, the short ones of its values, and how much came back."""
    values = (str(value) for value in call.input.values())
    asked = " ".join([call.name, *(value for value in values if len(value) <= 40)])
    came = _text(call.result)
    return f"{asked} -> {came if len(came.splitlines()) <= 1 else _counted(came)}", asked


def _lines(view_range: object) -> str:
    match view_range:
        case [first, last]:
            return f", lines {first} to {last}"
        case _:
            return ""


def _shown(given: Mapping[str, Any], key: str) -> str:
    return str(given.get(key, "nothing"))


def _text(result: object) -> str:
    return result if isinstance(result, str) else "content that is not text"


def _counted(text: str) -> str:
    lines = len(text.splitlines())
    return f"{lines:,} line{'' if lines == 1 else 's'}"


def _short(text: str, limit: int = 100) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
