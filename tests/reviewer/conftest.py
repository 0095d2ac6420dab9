"""A small client for the reviewer: it answers tool uses from dictionaries, as a turn loop would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from memory_demo.offline.context_editing import edit_context
from memory_demo.offline.prompt import Prompt, Reply
from memory_demo.reviewer.reviewer import review

MEMORY = {"type": "memory_20250818", "name": "memory"}
READ = {"name": "read_source", "input_schema": {"type": "object"}}
LIST = {"name": "list_sources", "input_schema": {"type": "object"}}
REPORT = {"name": "report_finding", "input_schema": {"type": "object"}}

Edit = Callable[[Sequence[Mapping[str, Any]]], Sequence[Mapping[str, Any]]]


class Conversation:
    """One conversation: `memory` and `files` map paths to texts; `edit` changes what the reviewer sees."""

    def __init__(
        self,
        memory: dict[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (MEMORY, READ, LIST, REPORT),
        edit: Edit = lambda messages: messages,
        broken: Mapping[str, str] | None = None,
    ) -> None:
        self.memory = {} if memory is None else memory
        self.files = files or {}
        self.tools = tuple(tools)
        self.edit = edit
        self.broken = broken or {}
        self.messages: list[dict[str, Any]] = []
        self.uses: list[tuple[str, dict[str, Any]]] = []
        self.replies: list[Reply] = []

    def ask(self, request: str, max_turns: int = 40) -> str:
        """Send a request and run the loop to its end; the text of the last reply."""
        self.messages.append({"role": "user", "content": [{"type": "text", "text": request}]})
        for _ in range(max_turns):
            reply = review(Prompt("", self.tools, tuple(self.edit(self.messages))))
            self.replies.append(reply)
            blocks = [self._with_id(block) for block in reply.content]
            self.messages.append({"role": "assistant", "content": blocks})
            results = [self._run(block) for block in blocks if block["type"] == "tool_use"]
            if not results:
                return "\n".join(block["text"] for block in blocks)
            self.messages.append({"role": "user", "content": results})
        raise AssertionError("the reviewer does not come to an end")

    def commands(self, name: str = "memory") -> list[tuple[Any, ...]]:
        """The tool uses of one tool so far, shortened to what they are about."""
        return [
            (given.get("command"), given.get("path"))
            if name == "memory"
            else (given.get("path") or given.get("line") or given.get("containing"),)
            for used, given in self.uses
            if used == name
        ]

    def _with_id(self, block: Mapping[str, Any]) -> dict[str, Any]:
        if block["type"] != "tool_use":
            return dict(block)
        self.uses.append((block["name"], dict(block["input"])))
        return {**block, "id": f"toolu_{len(self.uses)}"}

    def _run(self, use: Mapping[str, Any]) -> dict[str, Any]:
        given = use["input"]
        tools = {"memory": self._memory, "read_source": self._read, "list_sources": self._list}
        text, failed = tools.get(use["name"], _noted)(given)
        return {"type": "tool_result", "tool_use_id": use["id"], "content": text, "is_error": failed}

    def _read(self, given: Mapping[str, Any]) -> tuple[str, bool]:
        text = self.files.get(given["path"])
        if text is None:
            return f"{given['path']} is not a file of this folder.", True
        return f"{text}\n[{given['path']}: {len(text):,} bytes, SHA-256 {_sha256(text)}]", False

    def _list(self, given: Mapping[str, Any]) -> tuple[str, bool]:
        found = {name: text for name, text in self.files.items() if given.get("containing", "") in name}
        return "\n".join(
            f"{name}\t{len(text):,}\t{_sha256(text)}" for name, text in found.items()
        ) or "None.", False

    def _memory(self, given: Mapping[str, Any]) -> tuple[str, bool]:
        path = given["path"]
        if error := self.broken.get(given["command"]):
            return error, True
        match given["command"]:
            case "view" if path == "/memories":
                lines = [f"{_size(text)}\t{name}" for name, text in sorted(self.memory.items())]
                head = "Here're the files and directories up to 2 levels deep in /memories, excluding hidden items"
                return "\n".join([f"{head} and node_modules:", "4.0K\t/memories", *lines]), False
            case "view" if path in self.memory:
                lines = [f"{n:>6}\t{line}" for n, line in enumerate(self.memory[path].splitlines(), 1)]
                return "\n".join([f"Here's the content of {path} with line numbers:", *lines]), False
            case "create" if path not in self.memory:
                self.memory[path] = given["file_text"]
                return f"File created successfully at: {path}", False
            case "str_replace" if self.memory.get(path, "").count(given["old_str"]) == 1:
                self.memory[path] = self.memory[path].replace(given["old_str"], given["new_str"])
                return "The memory file has been edited.", False
            case "create":
                return f"Error: File {path} already exists", True
            case "insert" if path in self.memory:
                lines = self.memory[path].splitlines()
                assert 0 <= given["insert_line"] <= len(lines)
                lines[given["insert_line"] : given["insert_line"]] = given["insert_text"].splitlines()
                self.memory[path] = "\n".join(lines) + "\n"
                return f"The file {path} has been edited.", False
        return f"The path {path} does not exist. Please provide a valid path.", True


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _noted(given: Mapping[str, Any]) -> tuple[str, bool]:
    return "Noted.", False


def _size(text: str) -> str:
    return f"{max(len(text), 1) / 1024:.1f}K"


def clearing(keep: int, **options: Any) -> Edit:
    """Context editing that clears every tool use but the last `keep`, from the first request on."""
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "tool_uses", "value": 0},
        "keep": {"type": "tool_uses", "value": keep},
        **options,
    }
    return lambda messages: edit_context(messages, [edit], lambda m: len(str(m))).messages


@pytest.fixture
def conversation() -> Callable[..., Conversation]:
    return Conversation


@pytest.fixture
def clear() -> Callable[..., Edit]:
    return clearing


@pytest.fixture
def sha256() -> Callable[[str], str]:
    return _sha256
