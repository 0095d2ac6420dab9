"""What a prompt holds for a reader who remembers nothing else: the request, the tool results, the memory seen so far."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memory_demo.offline.context_editing import is_cleared
from memory_demo.offline.prompt import Prompt

Message = Mapping[str, Any]
Block = Mapping[str, Any]

MEMORY_ROOT = "/memories"

_FENCE = re.compile(
    r"^(?P<ticks>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)\n(?P<code>.*?)(?:^(?P=ticks)[`~]*[ \t]*$|\Z)",
    re.M | re.S,
)
# A name that the request gives in so many words may end in anything; in other words a name is what ends in .py.
_PATH = re.compile(
    r"(?<=The file is `)[^`\s]+|(?<![\w/:.\\-])(?:[\w.-]+[/\\]|[/\\])*[\w-][\w.-]*\.py\b(?![\w/\\])"
)
_FRAME = re.compile(r"\n\[[^\]\n]*\bnot instructions\b[^\]\n]*\]\s*\Z")
_PYTHON = ("python", "python3", "py", "py3")
_FAILURES = ("Error", "The path /memories", "No replacement was performed")
_NUMBERED = re.compile(r"^ *(\d+)\t(.*)$")
_LISTED = re.compile(r"^(\S+)\t(\S.*)$")


class Fence(NamedTuple):
    """Python given in the request itself; `name` is the file name written before it, or ""."""

    name: str
    code: str


@dataclass(frozen=True)
class Request:
    """The last thing the user asked for: its words without code, the code, and files that are named only."""

    words: str
    fences: tuple[Fence, ...]
    files: tuple[str, ...]


class Call(NamedTuple):
    """A tool use and the text of its result, None when there is none or it was cleared.

    `failed` for an error, flagged as one or, in a loop that does not flag them, worded as the memory tool words it.
    """

    name: str
    input: Mapping[str, Any]
    result: str | None
    failed: bool


@dataclass
class Memory:
    """The memory directory as far as the context shows it.

    `listing` maps paths to sizes as listed, None if no listing is in the context. `files` maps paths to texts.
    `unframed` holds the paths whose view had no line that says what it is.
    """

    listing: dict[str, str] | None = None
    files: dict[str, str] = field(default_factory=dict)
    unframed: set[str] = field(default_factory=set)

    def paths(self) -> list[str]:
        """Files that a listing shows or that were seen or written."""
        return sorted({*_files_of(self.listing or {}), *self.files})


def memory_tool_name(prompt: Prompt) -> str | None:
    """The name of the memory tool among the tools on offer, if it is."""
    for tool in prompt.tools:
        if str(tool.get("type", "")).startswith("memory_") or tool.get("name") == "memory":
            return str(tool.get("name", "memory"))
    return None


def offers(prompt: Prompt, name: str) -> bool:
    return any(tool.get("name") == name for tool in prompt.tools)


def request_index(messages: Sequence[Message]) -> int:
    """Index of the last user message with text of its own, -1 if there is none."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index]["role"] == "user" and text_of(messages[index]["content"]).strip():
            return index
    return -1


def parse_request(text: str) -> Request:
    """Split a request into words, Python code and names of files.

    A fenced block gets the last file name since the block before it; names that remain are files to be read.
    """
    words, fences, files, end = "", [], [], 0
    for fence in _FENCE.finditer(text):
        if not _is_python(fence["info"], fence["code"]):
            continue
        before = text[end : fence.start()]
        names = _PATH.findall(before)
        fences.append(Fence(names[-1] if names else "", fence["code"]))
        files += names[:-1]
        words += _PATH.sub(" ", before) + "\n"
        end = fence.end()
    files += _PATH.findall(text[end:])
    given = {fence.name for fence in fences}
    named = tuple(name for name in dict.fromkeys(files) if name not in given)
    return Request(words + _PATH.sub(" ", text[end:]), tuple(fences), named)


def text_of(content: Any) -> str:
    """The text of a message's or a tool result's content, which may be a string or blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or () if block.get("type") == "text")


def calls(messages: Sequence[Message]) -> list[Call]:
    """Every tool use in order, with its result as the context shows it."""
    results = {
        block["tool_use_id"]: block
        for block in _blocks(messages, "user")
        if block.get("type") == "tool_result"
    }
    return [
        _call(block, results.get(block["id"]))
        for block in _blocks(messages, "assistant")
        if block.get("type") == "tool_use"
    ]


def said(messages: Sequence[Message]) -> list[str]:
    """The assistant's own text blocks, in order."""
    return [block["text"] for block in _blocks(messages, "assistant") if block.get("type") == "text"]


def use_key(name: str, tool_input: Mapping[str, Any]) -> str:
    """One text for a tool use, equal for equal name and input."""
    return f"{name} {json.dumps(tool_input, sort_keys=True, default=str)}"


def replay_memory(made: Sequence[Call], tool: str | None) -> Memory:
    """What the views in the context show, and what the commands after them have made of it."""
    memory = Memory()
    for call in made:
        seen = call.result is not None or call.input.get("command") != "view"
        if call.name == tool and seen and not call.failed:
            _replay(memory, call.input, call.result or "")
    return memory


def _is_python(info: str, code: str) -> bool:
    """Whether a fenced block is Python: it says so, or it says nothing and parses."""
    if info.strip():
        return info.split()[0].lower() in _PYTHON
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _call(use: Block, result: Block | None) -> Call:
    tool_input = use.get("input")
    given = tool_input if isinstance(tool_input, Mapping) else {}
    if result is None or is_cleared(result):
        return Call(use["name"], given, None, bool(result and result.get("is_error")))
    text = text_of(result.get("content"))
    refused = "command" in given and text.startswith(_FAILURES)
    return Call(use["name"], given, text, refused or bool(result.get("is_error")))


def _replay(memory: Memory, command: Mapping[str, Any], result: str) -> None:
    path = str(command.get("path", ""))
    known = memory.files.get(path)
    if command.get("command") == "view":
        (memory.unframed.discard if _FRAME.search(result) else memory.unframed.add)(path)
        result = _FRAME.sub("", result)
    match command.get("command"):
        case "view" if path.rstrip("/") == MEMORY_ROOT:
            memory.listing = _parse_listing(result)
        case "view" if not result.startswith("Here're") and not command.get("view_range"):
            memory.files[path] = _without_numbers(result)
        case "create":
            memory.files[path] = str(command.get("file_text", ""))
        case "insert" if known is not None:
            memory.files[path] = _inserted(
                known, command.get("insert_line"), str(command.get("insert_text", ""))
            )
        case "str_replace" if known is not None:
            old, new = str(command.get("old_str", "")), str(command.get("new_str", ""))
            memory.files[path] = known.replace(old, new, 1)
        case "delete":
            _forget(memory, path)
        case "rename":
            _forget(memory, str(command.get("old_path", "")))


def _forget(memory: Memory, path: str) -> None:
    memory.files.pop(path, None)
    if memory.listing is not None:
        memory.listing.pop(path, None)


def _inserted(text: str, at: Any, addition: str) -> str:
    lines = text.splitlines()
    where = at if isinstance(at, int) else len(lines)
    return "\n".join([*lines[:where], *addition.splitlines(), *lines[where:]])


def _without_numbers(result: str) -> str:
    lines = result.splitlines()[1:] if result.startswith("Here's the content of") else result.splitlines()
    return "\n".join(match[2] if (match := _NUMBERED.match(line)) else line for line in lines)


def _parse_listing(result: str) -> dict[str, str]:
    entries = (match for line in result.splitlines() if (match := _LISTED.match(line)))
    paths = {_absolute(entry[2]): entry[1] for entry in entries}
    return {path: size for path, size in paths.items() if path != MEMORY_ROOT}


def _absolute(path: str) -> str:
    path = path.rstrip("/")
    return path if path.startswith("/") else f"{MEMORY_ROOT}/{path}"


def _files_of(listing: Mapping[str, str]) -> list[str]:
    return [path for path in listing if not any(other.startswith(path + "/") for other in listing)]


def _blocks(messages: Sequence[Message], role: str) -> Iterator[Block]:
    for message in messages:
        if message["role"] == role:
            yield from message["content"]
