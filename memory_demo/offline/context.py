"""What the model sees of a request: its messages after context editing, and how many tokens they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from memory_demo.offline.compaction import (
    COMPACT,
    is_compaction,
    is_due,
    is_failed_compaction,
    since_compaction,
)
from memory_demo.offline.context_editing import THINKING_BLOCKS, AppliedEdit, edit_context
from memory_demo.offline.prompt import Prompt
from memory_demo.offline.thinking import Dropped
from memory_demo.offline.tokens import count_input
from memory_demo.offline.turns import Turn, blocks_of
from memory_demo.offline.validation import Call, invalid

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """A request after context editing. Token counts are estimates.

    `compaction` is the edit that asks for a summary of these messages before the model answers, `summary` the block
    that has taken their place. `may_compact` when the request has such an edit, due or not.
    """

    call: Call
    messages: Sequence[Message]
    applied_edits: Sequence[AppliedEdit]
    original_input_tokens: int
    input_tokens: int
    may_compact: bool = False
    compaction: Mapping[str, Any] | None = None
    summary: Mapping[str, Any] | None = None

    def prompt(self) -> Prompt:
        """The prompt for a responder, without thinking."""
        request = self.call.request
        seen = [
            {
                **message,
                "content": [block for block in message["content"] if block["type"] not in THINKING_BLOCKS],
            }
            for message in self.messages
        ]
        system = "\n\n".join(block["text"] for block in blocks_of(request.get("system") or ()))
        return Prompt(system, tuple(request.get("tools") or ()), tuple(m for m in seen if m["content"]))

    def compacted(self, summary: str) -> Context:
        """The context after compaction: the summary in place of all messages."""
        block = {"type": "compaction", "content": summary}
        messages = ({"role": "user", "content": [block]},)
        return replace(self, messages=messages, input_tokens=_count(self.call, messages), summary=block)


def edited_context(call: Call, dropped: Collection[Dropped] = ()) -> Context:
    """Apply the request's edits to its messages, without the blocks that were dropped. Raises Rejected."""
    messages = _messages(since_compaction(call.turns), dropped)
    edits = (call.request.get("context_management") or {}).get("edits", ())
    position = next((i for i, edit in enumerate(edits) if edit["type"] == COMPACT), len(edits))
    edited, applied = _edit(call, messages, edits[:position])
    tokens = _count(call, edited)
    due = next((edit for edit in edits[position : position + 1] if is_due(edit, tokens)), None)
    if due is None:
        edited, later = _edit(call, edited, edits[position + 1 :])
        applied, tokens = (*applied, *later), _count(call, edited)
    maximum = call.model.context_window
    if tokens > maximum:
        raise invalid(f"prompt is too long: {tokens} tokens > {maximum} maximum")
    return Context(call, edited, applied, _count(call, messages), tokens, position < len(edits), due)


def _count(call: Call, messages: Iterable[Message]) -> int:
    return count_input(call.request.get("system"), call.request.get("tools"), messages)


def _edit(
    call: Call, messages: Sequence[Message], edits: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Message], tuple[AppliedEdit, ...]]:
    keep: Any = "all" if call.model.keeps_all_thinking else {"type": "thinking_turns", "value": 1}
    return edit_context(messages, edits, lambda edited: _count(call, edited), default_thinking_keep=keep)


def _messages(turns: Sequence[Turn], dropped: Collection[Dropped]) -> list[Message]:
    """One message a turn. A summary is the user's, so that what the assistant said after it is an answer to it."""
    places = {(drop.placed.message, drop.placed.position) for drop in dropped}
    placed = (
        ("user" if is_compaction(block.block) else turn.role, block.block)
        for turn in turns
        for block in turn.blocks
        if (block.message, block.position) not in places and not is_failed_compaction(block.block)
    )
    return [
        {"role": role, "content": [block for _, block in blocks]}
        for role, blocks in groupby(placed, key=lambda pair: pair[0])
    ]
