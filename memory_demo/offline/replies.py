"""From what a responder answers to a message's content: thinking, stop sequences, `max_tokens`, ids.

Tokens are estimates (see `tokens`).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jiter import from_json

from memory_demo.offline.caching import CacheUsage
from memory_demo.offline.prompt import Reply
from memory_demo.offline.tokens import count_block, estimate

Content = list[dict[str, Any]]


MODEL = "offline-stand-in"
"""What a message of the stand-in names as its model, whatever model the request asks for."""


class Output(NamedTuple):
    """What the model wrote before it stopped, and why it stopped.

    `cut_input` is the unfinished JSON of a tool input that `max_tokens` cut off; the last block then has as
    much of it as can be read.
    """

    content: Content
    stop_reason: str
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    output_tokens: int = 0
    thinking_tokens: int = 0
    cut_input: str | None = None


PAUSED = Output([], "compaction")
"""Nothing written after a summary, since the client wants to go on from there."""


def as_message(output: Output, cached: CacheUsage, cache_ttl: str) -> dict[str, Any]:
    """The parts of a response that every message has, but for its id."""
    return {
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": output.content,
        "stop_reason": output.stop_reason,
        "stop_sequence": output.stop_sequence,
        "stop_details": output.stop_details,
        "usage": {
            **_figures(output.output_tokens, cached, cache_ttl),
            "output_tokens_details": {"thinking_tokens": output.thinking_tokens},
            "service_tier": "standard",
        },
    }


def iteration(kind: str, output_tokens: int, cached: CacheUsage, cache_ttl: str) -> dict[str, Any]:
    """The entry of `usage.iterations` for one step of an answer: a compaction or a message."""
    return {"type": kind, **_figures(output_tokens, cached, cache_ttl)}


def _figures(output_tokens: int, cached: CacheUsage, cache_ttl: str) -> dict[str, Any]:
    created = dict.fromkeys(("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"), 0)
    created[f"ephemeral_{cache_ttl}_input_tokens"] = cached.cache_creation_input_tokens
    return {**cached._asdict(), "cache_creation": created, "output_tokens": output_tokens}


class _Cut(NamedTuple):
    content: Content
    tokens: int
    happened: bool
    input: str | None


def write_out(
    reply: Reply,
    *,
    max_tokens: int,
    stop_sequences: Sequence[str] = (),
    thinking: Mapping[str, Any] | None = None,
    new_id: Callable[[str, int], str],
) -> Output:
    """The content of a reply. `thinking` is its thinking block, `new_id` gives an id for a prefix and an index."""
    # Thinking takes part of the limit but never all of it, so that a small limit still shows cut-off content.
    thinking_tokens = min(estimate(reply.thinking), max_tokens // 2) if thinking else 0
    blocks, stop_sequence = _stopped(_with_ids(reply.content, new_id), stop_sequences)
    cut = _cut(blocks, max_tokens - thinking_tokens)
    if cut.happened:
        stop_reason, stop_sequence = "max_tokens", None
    elif stop_sequence is not None:
        stop_reason = "stop_sequence"
    else:
        stop_reason = reply.stop_reason or _natural_stop(blocks)
    return Output(
        content=([dict(thinking)] if thinking else []) + cut.content,
        stop_reason=stop_reason,
        stop_sequence=stop_sequence,
        stop_details=reply.stop_details if stop_reason == reply.stop_reason else None,
        output_tokens=cut.tokens + thinking_tokens,
        thinking_tokens=thinking_tokens,
        cut_input=cut.input,
    )


def _with_ids(blocks: Sequence[Mapping[str, Any]], new_id: Callable[[str, int], str]) -> Content:
    return [
        {"type": "tool_use", "id": new_id("toolu_", index), **block}
        if block["type"] == "tool_use"
        else dict(block)
        for index, block in enumerate(blocks)
    ]


def _natural_stop(blocks: Content) -> str:
    return "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"


def _stopped(blocks: Content, sequences: Sequence[str]) -> tuple[Content, str | None]:
    for index, block in enumerate(blocks):
        text = block["text"] if block["type"] == "text" else ""
        found = [
            (text.index(sequence), -len(sequence), sequence) for sequence in sequences if sequence in text
        ]
        if found:
            position, _, sequence = min(found)
            kept = [{**block, "text": text[:position]}] if position else []
            return blocks[:index] + kept, sequence
    return blocks, None


def _cut(blocks: Content, budget: int) -> _Cut:
    spent = 0
    for index, block in enumerate(blocks):
        tokens = count_block(block)
        if spent + tokens <= budget:
            spent += tokens
            continue
        rest, text = _cut_block(block, budget - spent)
        return _Cut(blocks[:index] + ([rest] if rest else []), budget, True, text)
    return _Cut(blocks, spent, False, None)


def _cut_block(block: dict[str, Any], budget: int) -> tuple[dict[str, Any] | None, str | None]:
    if block["type"] == "text":
        text = _head(block["text"], budget)
        return ({**block, "text": text} if text else None), None
    if block["type"] != "tool_use":
        return None, None
    written = count_block({**block, "input": None})
    if budget < written:
        return None, None
    text = _head(json.dumps(block["input"], ensure_ascii=False), budget - written)
    return {**block, "input": from_json(text.encode(), partial_mode=True) if text else {}}, text


def _head(text: str, budget: int) -> str:
    """The longest beginning of a text that is estimated at no more than `budget` tokens."""
    size = bisect_right(range(1, len(text) + 1), budget, key=lambda length: estimate(text[:length]))
    return text[:size]
