"""Compaction on the server: a summary takes the place of the conversation before it.

*Documented*: https://platform.claude.com/docs/en/build-with-claude/compaction. *Recorded*: answers of claude-sonnet-4-6 in
the public test suite of pydantic-ai. *Our reading*: neither says.

- Documented: `compact_20260112` fires when the prompt reaches its trigger, 150,000 input tokens unless it says otherwise
  and at least 50,000. The reply begins with a block `{"type": "compaction", "content": summary}`.
- Recorded: the summary stands for everything before it, the user's last message included, and the model answers to it in
  the same request. `applied_edits` stays empty.
- Recorded: `usage.iterations` has one entry of type `compaction`, for the whole prompt and about 100 tokens of instructions
  to summarise it, and one of type `message`. The figures on top of `usage` are the last entry's alone. A request with this
  edit that does not fire has the `message` entry only.
- Documented: the client sends the block back; what comes before the last one is not looked at and may be left out. A block
  without content changes nothing. Recorded: a block that the client wrote is taken too.
- Documented: `pause_after_compaction` ends the reply after the block, with the stop reason `compaction`. Its figures on top
  are 0 (our reading). Counting tokens does not compact.
- Our reading: edits apply in the order of the list, so clearing that comes first can keep the trigger from being reached.

`instructions` are taken and not followed: what summarises here is a function, by default `summarise`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from memory_demo.offline.prompt import Block, Prompt
from memory_demo.offline.tokens import estimate
from memory_demo.offline.turns import Turn

COMPACT = "compact_20260112"
DEFAULT_TRIGGER = 150_000
MINIMUM_TRIGGER = 50_000
SUMMARY_INSTRUCTION_TOKENS = 100
LONGEST_QUOTE = 2_000
LONGEST_REQUEST = 20_000

_TITLE = "Summary by the offline stand-in, which is not Claude:"
_TOOL_USE = "tool use"
_MARK = "> "
_CUT = " [cut]"
_QUOTED = re.compile(
    rf"^(?P<who>user|assistant|system|{_TOOL_USE}):\n(?P<text>(?:{_MARK}.*(?:\n|\Z))*)", re.M
)


def is_due(edit: Mapping[str, Any], tokens: int) -> bool:
    """Whether a prompt of so many tokens reaches the trigger of a compaction edit."""
    trigger = edit.get("trigger") or {"value": DEFAULT_TRIGGER}
    return bool(tokens >= trigger["value"])


def instruction_tokens(edit: Mapping[str, Any]) -> int:
    """Estimated tokens of what asks for the summary; instructions in the edit replace the API's own."""
    return estimate(edit["instructions"]) if edit.get("instructions") else SUMMARY_INSTRUCTION_TOKENS


def since_compaction(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The turns from the last compaction block on, with it; all of them if there is none."""
    for number in range(len(turns) - 1, -1, -1):
        blocks = turns[number].blocks
        for position in range(len(blocks) - 1, -1, -1):
            if is_compaction(blocks[position].block):
                return [Turn(turns[number].role, blocks[position:]), *turns[number + 1 :]]
    return turns


def is_compaction(block: Block) -> bool:
    """Whether a block is the summary of what came before it."""
    return block["type"] == "compaction" and bool(block.get("content"))


def is_failed_compaction(block: Block) -> bool:
    """Whether a block says that there is no summary; it changes nothing."""
    return block["type"] == "compaction" and not block.get("content")


def summarise(prompt: Prompt) -> str:
    """What was asked, said and done, in order, without the results of tools. Long texts are cut.

    The last request is kept whole up to `LONGEST_REQUEST` characters, since it may hold what it is about.
    """
    said = [*chain.from_iterable(map(_said, read_back(prompt).messages))]
    last = max((number for number, (who, _) in enumerate(said) if who == "user"), default=-1)
    cut = (
        (who, _cut(text, LONGEST_REQUEST if number == last else LONGEST_QUOTE))
        for number, (who, text) in enumerate(said)
    )
    return "\n".join([_TITLE, *(f"{who}:\n{_quoted(text)}" for who, text in cut)])


def read_back(prompt: Prompt) -> Prompt:
    """The prompt with the messages that a summary by `summarise` was made of; tool uses are without results.

    For a responder that goes by messages. Another summary becomes the user's text.
    """
    if not prompt.messages or prompt.messages[0]["content"][0]["type"] != "compaction":
        return prompt
    first, *others = prompt.messages
    summary, *rest = first["content"]
    messages = [*_messages(str(summary["content"]))]
    if rest:
        messages.append({"role": "user", "content": rest})
    return replace(prompt, messages=(*messages, *others))


def _said(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for block in message["content"]:
        if block["type"] == "text":
            yield message["role"], block["text"]
        elif block["type"] == "tool_use":
            use = {"name": block["name"], "input": block["input"]}
            yield _TOOL_USE, json.dumps(use, ensure_ascii=False)


def _messages(summary: str) -> Iterator[dict[str, Any]]:
    if not summary.startswith(_TITLE):
        yield {"role": "user", "content": [{"type": "text", "text": summary}]}
        return
    for number, match in enumerate(_QUOTED.finditer(summary)):
        who, text = match["who"], re.sub(f"^{_MARK}", "", match["text"].removesuffix("\n"), flags=re.M)
        if who != _TOOL_USE:
            yield {"role": who, "content": [{"type": "text", "text": text}]}
        elif not text.endswith(_CUT):
            use = {"type": "tool_use", "id": f"toolu_summary_{number}", **json.loads(text)}
            yield {"role": "assistant", "content": [use]}


def _quoted(text: str) -> str:
    return re.sub("^", _MARK, text, flags=re.M)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}{_CUT}"
