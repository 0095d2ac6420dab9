"""Estimated token counts.

These are estimates, not Claude's tokenizer, which is not public. Anthropic's glossary gives about 3.5
English characters a token; the token counting page says that current models produce about 30 percent more
tokens for the same text. Hence 35 / 13, about 2.7 UTF-8 bytes a token. Against counts recorded from
claude-sonnet-4-6 that is 0.3 percent too low for tables and prose (109,859 characters, 40,950 tokens) and 51
percent too high for plain English in short words (225,039 characters, 55,196 tokens).

A count is a sum over blocks, so replacing one block changes a total by exactly the difference of the two
blocks.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Room for the role and the turn delimiters around a message's content.
MESSAGE_TOKENS = 3
# Room for the structure around a tool call or its result: block type and id.
TOOL_BLOCK_TOKENS = 10
# The vision page prices an image at width * height / 750, about 1,600 tokens at the size it recommends.
MEDIA_TOKENS = 1600
# With any tool in the request the API adds a system prompt on tool use; the tool use page gives 354 tokens
# for Claude Sonnet 5.
TOOL_USE_PROMPT_TOKENS = 354
# The API expands the memory tool into a definition with six commands and adds its memory protocol to the
# system prompt. Recorded: 1,581 tokens for a short question with this tool alone (claude-sonnet-4-5), of which
# the question is about 10 and the prompt on tool use 346.
MEMORY_TOOL_TOKENS = 1225

_MEDIA_BLOCKS = frozenset({"image", "document"})


def estimate(value: object) -> int:
    """Estimated tokens of a text, or of the JSON form of any other value. None is 0."""
    if value is None:
        return 0
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size * 13 // 35)


def count_block(block: Mapping[str, Any]) -> int:
    """Estimated tokens of one content block.

    A thinking block counts by its signature, which holds the whole thought, whatever text is displayed.
    """
    kind = block.get("type")
    if kind == "text":
        return estimate(block.get("text"))
    if kind == "compaction":
        return estimate(block.get("content"))
    if kind == "tool_use":
        return TOOL_BLOCK_TOKENS + estimate(block.get("name")) + estimate(block.get("input"))
    if kind == "tool_result":
        return TOOL_BLOCK_TOKENS + count_content(block.get("content"))
    if kind == "thinking":
        return estimate(block.get("signature") or block.get("thinking"))
    if kind == "redacted_thinking":
        return estimate(block.get("data"))
    if kind in _MEDIA_BLOCKS:
        return _count_media(block)
    return estimate({key: value for key, value in block.items() if key != "cache_control"})


def count_content(content: str | Iterable[Mapping[str, Any]] | None) -> int:
    """Estimated tokens of `content`: a text, a list of blocks, or nothing."""
    if content is None or isinstance(content, str):
        return estimate(content)
    return sum(count_block(block) for block in content)


def count_tool(tool: Mapping[str, Any]) -> int:
    """Estimated tokens of one entry of `tools`, with what the API adds to the prompt for it."""
    if str(tool.get("type", "")).startswith("memory_"):
        return MEMORY_TOOL_TOKENS
    return estimate({key: value for key, value in tool.items() if key != "cache_control"})


def count_tools(tools: Sequence[Mapping[str, Any]] | None) -> int:
    """Estimated tokens of `tools`, with the system prompt that the API adds when there are any."""
    return TOOL_USE_PROMPT_TOKENS + sum(map(count_tool, tools)) if tools else 0


def count_messages(messages: Iterable[Mapping[str, Any]]) -> int:
    """Estimated tokens of `messages`."""
    return sum(MESSAGE_TOKENS + count_content(message.get("content")) for message in messages)


def count_input(
    system: str | Iterable[Mapping[str, Any]] | None,
    tools: Sequence[Mapping[str, Any]] | None,
    messages: Iterable[Mapping[str, Any]],
) -> int:
    """Estimated input tokens of a request: system prompt, tools and messages."""
    return count_content(system) + count_tools(tools) + count_messages(messages)


def _count_media(block: Mapping[str, Any]) -> int:
    source = block.get("source") or {}
    if source.get("type") == "text":
        return estimate(source.get("data"))
    if source.get("type") == "content":
        return count_content(source.get("content"))
    return MEDIA_TOKENS
