"""What passes between the API and the code that answers for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Block: TypeAlias = Mapping[str, Any]
"""A content block, as in the API's JSON: `{"type": "text", "text": ...}` and so on."""


@dataclass(frozen=True)
class Prompt:
    """A request as a model sees it: after context editing, without thinking blocks.

    Every message is `{"role": "user" | "assistant" | "system", "content": [block, ...]}`; a string content has become
    one text block, and consecutive messages of one role one message. After compaction the first block of the first
    message, a user's, is `{"type": "compaction", "content": summary}`, and nothing from before is left.
    """

    system: str
    tools: tuple[Mapping[str, Any], ...]
    messages: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Reply:
    """What a model answers.

    `content` holds `{"type": "text", "text": ...}` and `{"type": "tool_use", "name": ..., "input": {...}}` blocks;
    the API gives a tool use its id. `thinking` is the summary of the thinking block, which the API adds where the
    model thinks and whose text it shows only on request. `stop_reason` None means "tool_use" if there is a tool
    use in `content`, else "end_turn".
    """

    content: tuple[Block, ...]
    thinking: str = ""
    stop_reason: str | None = None
    stop_details: Mapping[str, Any] | None = None


Responder: TypeAlias = Callable[[Prompt], Reply]
"""Answers for a model. Deterministic: the same prompt, the same reply."""

Summariser: TypeAlias = Callable[[Prompt], str]
"""Writes the summary that takes a conversation's place. Deterministic too."""
