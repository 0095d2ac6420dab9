"""Context editing: from the messages a client sent and its edits to the messages the model sees.

Each rule says where it comes from. *Documented*: https://platform.claude.com/docs/en/build-with-claude/context-editing.
*Recorded*: what the API answered in the saved outputs of three public notebooks; the data is in the tests. *Our
reading*: neither says, so this is a decision.

- Documented: the client keeps its full history. Each request starts from it, and `applied_edits` reports all that was
  cleared for it. Nothing is remembered between requests (our reading; the recordings agree).
- Documented: a trigger fires once the prompt exceeds its value, so a prompt of exactly that size is left alone. Edits
  apply in order; each sees the prompt that the ones before it left (our reading).
- Documented: `keep` is the number of most recent tool use/result pairs that stay. All older ones are cleared, oldest
  first. Excluded tools are not cleared.
- Recorded: uses of excluded tools, and results of at most `SHORT_RESULT` characters, are neither cleared nor counted
  towards `keep`. This is a fit: with a limit of 52 to 55 characters it gives the API's number of cleared uses in all 18
  requests of March 2026 and in one of the two of September 2025. No limit gives all 20. Counting every use gives 4.
- Our reading: the limit is the placeholder's length, since clearing a shorter result would save nothing. The wording of
  the placeholder is not documented; this one is ours. Images are never short.
- Our reading: a use with a short result keeps its input too, and counts towards a `tool_uses` trigger; one of an
  excluded tool counts towards neither.
- Our reading: a cleared result keeps its block, id and `is_error`; all its content, images too, gives way to the
  placeholder, so every tool use still has its result. Errors are cleared like other results.
- Documented: `clear_tool_inputs` clears inputs as well; given names, those tools' only. The tool_use block stays, with an
  empty input (our reading).
- Documented: an edit that cannot clear `clear_at_least` tokens is not applied. Nor is one that would not make the prompt
  smaller at all (our reading).
- Documented (extended thinking page): a thinking turn is an assistant turn with thinking in it, and a turn goes on
  through tool calls and their results until the user says something else. `redacted_thinking` goes with `thinking`.
- Documented: `clear_thinking_20251015` comes first. What it keeps by default depends on the model: current ones keep all
  turns, Opus up to 4.1, Sonnet up to 4.5 and Haiku up to 4.5 the last one.

Results of server tools, such as web search, are left alone: nothing here produces them. Compaction has a file of its
own (`compaction`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

Message: TypeAlias = Mapping[str, Any]
Block: TypeAlias = Mapping[str, Any]
Edit: TypeAlias = Mapping[str, Any]
Keep: TypeAlias = Mapping[str, Any] | str
Count: TypeAlias = Callable[[Sequence[Message]], int]

CLEARED = "[This tool result was cleared to make room in context]"
SHORT_RESULT = len(CLEARED)
"""A result of so many characters or fewer stays as it is: 54, from the middle of what the recordings allow."""
CLEAR_TOOL_USES = "clear_tool_uses_20250919"
CLEAR_THINKING = "clear_thinking_20251015"
DEFAULT_TRIGGER: Mapping[str, Any] = {"type": "input_tokens", "value": 100_000}
DEFAULT_KEEP: Mapping[str, Any] = {"type": "tool_uses", "value": 3}

THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})
_CLEARED_FIELD = {CLEAR_TOOL_USES: "cleared_tool_uses", CLEAR_THINKING: "cleared_thinking_turns"}


@dataclass(frozen=True)
class AppliedEdit:
    """What one edit cleared: tool uses or thinking turns, depending on its type, and input tokens."""

    type: str
    cleared: int
    cleared_input_tokens: int

    def as_response(self) -> dict[str, Any]:
        """The entry for `context_management.applied_edits` of a response."""
        return {
            "type": self.type,
            _CLEARED_FIELD[self.type]: self.cleared,
            "cleared_input_tokens": self.cleared_input_tokens,
        }


class Edited(NamedTuple):
    """Messages after editing, and the edits that changed them in the order they were applied."""

    messages: tuple[Message, ...]
    applied_edits: tuple[AppliedEdit, ...]


def edit_context(
    messages: Sequence[Message], edits: Sequence[Edit], count: Count, *, default_thinking_keep: Keep = "all"
) -> Edited:
    """Apply the clearing edits of `context_management` to messages.

    `count` gives the input tokens of the whole prompt with the messages it is passed. Nothing is changed in
    place; messages and blocks that no edit touches are returned as they are. The tokens before editing less
    those after it are the sum of `cleared_input_tokens`. `default_thinking_keep` is what the model keeps
    when a thinking edit does not say.
    """
    current, tokens = tuple(messages), count(messages)
    applied = []
    for edit in edits:
        if edit["type"] == CLEAR_TOOL_USES:
            edited, cleared = _clear_tool_uses(current, edit, tokens)
        else:
            edited, cleared = _clear_thinking(current, edit.get("keep") or default_thinking_keep)
        saved = tokens - count(edited) if cleared else 0
        if saved >= max(1, _clear_at_least(edit)):
            current, tokens = edited, tokens - saved
            applied.append(AppliedEdit(edit["type"], cleared, saved))
    return Edited(current, tuple(applied))


def is_cleared(block: Block) -> bool:
    """Whether a block is a tool result whose content has been cleared."""
    return block.get("type") == "tool_result" and block.get("content") == CLEARED


class _Position(NamedTuple):
    message: int
    block: int


class _Use(NamedTuple):
    call: Block
    call_at: _Position
    result: Block
    result_at: _Position


def _clear_at_least(edit: Edit) -> int:
    minimum = edit.get("clear_at_least")
    return int(minimum["value"]) if minimum else 0


def _clear_tool_uses(
    messages: tuple[Message, ...], edit: Edit, tokens: int
) -> tuple[tuple[Message, ...], int]:
    excluded = frozenset(edit.get("exclude_tools") or ())
    uses = [use for use in _answered_uses(messages) if use.call["name"] not in excluded]
    trigger = edit.get("trigger") or DEFAULT_TRIGGER
    if (len(uses) if trigger["type"] == "tool_uses" else tokens) <= trigger["value"]:
        return messages, 0
    clearable = [use for use in uses if not _is_short(use.result)]
    keep = (edit.get("keep") or DEFAULT_KEEP)["value"]
    old = clearable[: max(0, len(clearable) - keep)]
    changes: dict[_Position, Block] = {}
    for use in old:
        changes |= _cleared_blocks(use, edit.get("clear_tool_inputs"))
    return _replace_blocks(messages, changes), len(old)


def _is_short(result: Block) -> bool:
    content = result.get("content") or ""
    if isinstance(content, str):
        return len(content) <= SHORT_RESULT
    return all(block["type"] == "text" for block in content) and (
        sum(len(block["text"]) for block in content) <= SHORT_RESULT
    )


def _cleared_blocks(use: _Use, clear_inputs: bool | Collection[str] | None) -> dict[_Position, Block]:
    change: dict[_Position, Block] = {use.result_at: {**use.result, "content": CLEARED}}
    names_it = clear_inputs if isinstance(clear_inputs, bool) else use.call["name"] in (clear_inputs or ())
    if names_it and use.call.get("input"):
        change[use.call_at] = {**use.call, "input": {}}
    return change


def _clear_thinking(messages: tuple[Message, ...], keep: Keep) -> tuple[tuple[Message, ...], int]:
    if isinstance(keep, str) or keep["type"] == "all":
        return messages, 0
    turns = [turn for turn in _assistant_turns(messages) if any(_has_thinking(messages[i]) for i in turn)]
    old = turns[: max(0, len(turns) - keep["value"])]
    indices = frozenset(i for turn in old for i in turn)
    edited = (_without_thinking(message) if i in indices else message for i, message in enumerate(messages))
    return tuple(edited), len(old)


def _answered_uses(messages: Sequence[Message]) -> list[_Use]:
    """Tool uses that have a result, in the order of their calls."""
    calls: dict[str, tuple[Block, _Position]] = {}
    uses = []
    for at, block in _positions(messages):
        if block.get("type") == "tool_use":
            calls[block["id"]] = (block, at)
        elif block.get("type") == "tool_result" and block["tool_use_id"] in calls:
            uses.append(_Use(*calls.pop(block["tool_use_id"]), block, at))
    return sorted(uses, key=lambda use: use.call_at)


def _assistant_turns(messages: Sequence[Message]) -> Iterator[list[int]]:
    """Indices of the assistant messages in each assistant turn."""
    turn: list[int] = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            turn.append(index)
        elif turn and not any(block.get("type") == "tool_result" for block in _blocks(message)):
            yield turn
            turn = []
    if turn:
        yield turn


def _replace_blocks(messages: tuple[Message, ...], changes: Mapping[_Position, Block]) -> tuple[Message, ...]:
    touched = {at.message for at in changes}
    return tuple(
        {**message, "content": [changes.get(_Position(i, j), b) for j, b in enumerate(message["content"])]}
        if i in touched
        else message
        for i, message in enumerate(messages)
    )


def _has_thinking(message: Message) -> bool:
    return any(block.get("type") in THINKING_BLOCKS for block in _blocks(message))


def _without_thinking(message: Message) -> Message:
    if not _has_thinking(message):
        return message
    return {**message, "content": [b for b in message["content"] if b.get("type") not in THINKING_BLOCKS]}


def _positions(messages: Sequence[Message]) -> Iterator[tuple[_Position, Block]]:
    for i, message in enumerate(messages):
        for j, block in enumerate(_blocks(message)):
            yield _Position(i, j), block


def _blocks(message: Message) -> Sequence[Block]:
    content: str | Sequence[Block] = message["content"]
    return () if isinstance(content, str) else content
