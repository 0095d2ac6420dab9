"""A message as the API's server-sent events."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Models write a few tokens at a time; so do these pieces.
_PIECE = re.compile(r"\s*\S{1,24}\s*|\s+")


def events(message: Mapping[str, Any], cut_input: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of a message, in the API's order.

    `cut_input` is the unfinished JSON of the last block's tool input, if `max_tokens` cut it off.
    """
    started = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    started.pop("context_management", None)
    yield {"type": "message_start", "message": {**started, "usage": _first_usage(message["usage"])}}
    last = len(message["content"]) - 1
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block, cut_input if index == last else None):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield _message_delta(message)
    yield {"type": "message_stop"}


def encode(event: Mapping[str, Any]) -> bytes:
    """One event in the text/event-stream format."""
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode("utf-8", "replace")


def _first_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """What a stream begins with. Recorded: the input of the first step, where the reply takes several."""
    steps = usage.get("iterations") or [{}]
    first = {key: value for key, value in steps[0].items() if key in usage}
    return {
        **{key: value for key, value in usage.items() if key != "iterations"},
        **first,
        "output_tokens": 1,
    }


def _message_delta(message: Mapping[str, Any]) -> dict[str, Any]:
    usage = {key: value for key, value in message["usage"].items() if key in _DELTA_USAGE}
    delta = {key: message[key] for key in ("stop_reason", "stop_sequence", "stop_details")}
    event = {"type": "message_delta", "delta": delta, "usage": usage}
    if "context_management" in message:
        event["context_management"] = message["context_management"]
    return event


_DELTA_USAGE = frozenset(
    {
        "input_tokens",
        "iterations",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    }
)


def _empty(block: Mapping[str, Any]) -> dict[str, Any]:
    blank: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "compaction": {"content": None},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return {**block, **blank.get(block["type"], {})}


def _deltas(block: Mapping[str, Any], cut_input: str | None) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    if kind == "text":
        for piece in _PIECE.findall(block["text"]):
            yield {"type": "text_delta", "text": piece}
    elif kind == "compaction":
        yield {"type": "compaction_delta", "content": block["content"]}
    elif kind == "thinking":
        for piece in _PIECE.findall(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}
        yield {"type": "signature_delta", "signature": block["signature"]}
    elif kind == "tool_use":
        text = json.dumps(block["input"], ensure_ascii=False) if cut_input is None else cut_input
        yield {"type": "input_json_delta", "partial_json": ""}
        for piece in _PIECE.findall(text):
            yield {"type": "input_json_delta", "partial_json": piece}
