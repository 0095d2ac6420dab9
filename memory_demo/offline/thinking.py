"""Thinking blocks: signing the ones the stand-in writes, checking the ones a client sends back.

As documented (https://platform.claude.com/docs/en/build-with-claude/preserved-thinking), a block is bound to
what came before it: system prompt, tools and all earlier content. `cache_control` marks do not count, and
neither does leaving out the oldest thinking blocks; leaving out one between others does. A block of another
model is dropped without an error. Recorded (claude-sonnet-5-5): where the system prompt is what differs, the error says so.

A signature names its model in the clear and holds codes of the block itself, its prefix and its system prompt. The
key is public: this is about being as strict as the API, not about secrecy.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from memory_demo.offline.context_editing import THINKING_BLOCKS
from memory_demo.offline.models import Model
from memory_demo.offline.turns import PlacedBlock, Turn, blocks_of
from memory_demo.offline.validation import BLOCK_BINDING_BETA, invalid

_KEY = b"memory_demo.offline"
_MARK = "offline"
_SYSTEM_DIFFERS = " The `system` prompt differs from the one this block was created with."


class Dropped(NamedTuple):
    """A block that the model does not get to see, and the API's reason."""

    placed: PlacedBlock
    reason: str

    def as_response(self) -> dict[str, str]:
        """The entry for `input_transformations` of a response."""
        return {"type": "thinking_dropped", "path": self.placed.path, "reason": self.reason}


class History(NamedTuple):
    """What a new thinking block is bound to, and the old ones that were dropped on the way.

    `prefix` identifies all content but thinking, `system` the system prompt, `link` the last thinking block that was
    kept.
    """

    prefix: str
    system: str
    link: str
    dropped: tuple[Dropped, ...]


class _Signature(NamedTuple):
    model: str
    link: str
    seal: str
    system: str
    binding: str


def sign(history: History, model: str, text: str) -> str:
    """The signature of a new block whose visible text is `text`."""
    seal = _seal(model, history.link, text)
    parts = (_MARK, model, history.link, seal, history.system, _code(seal, history.prefix))
    return base64.b64encode("|".join(parts).encode()).decode()


def new_block(
    request: Mapping[str, Any], model: Model, history: History, summary: str
) -> dict[str, Any] | None:
    """The thinking block of a reply, or None where the model does not think.

    Its text is the summary if the request asks to see it, else "". With `between_tools` the model would
    write its notes between tool calls; here it writes none.
    """
    settings = request.get("thinking") or {}
    kind = settings.get("type", "adaptive" if model.thinks_by_default else "disabled")
    if kind not in ("adaptive", "enabled"):
        return None
    display = settings.get("display") or ("summarized" if model.shows_thinking else "omitted")
    text = summary if display == "summarized" else ""
    return {"type": "thinking", "thinking": text, "signature": sign(history, model.id, text)}


def check(
    request: Mapping[str, Any], turns: Iterable[Turn], model: Model, betas: frozenset[str] = frozenset()
) -> History:
    """Check the thinking blocks of a request.

    Raises Rejected for a block that was altered or, unless the request asks to drop such blocks, whose
    prefix has changed.
    """
    prefix, system = _prefix(request), _system_code(request)
    link, dropped = "", []
    for turn in turns:
        for placed in turn.blocks:
            if placed.block["type"] not in THINKING_BLOCKS:
                prefix.add(turn.role, placed.block)
                continue
            signature = _signature(placed)
            if signature.model != model.id:
                dropped.append(Dropped(placed, "model_binding_mismatch"))
            elif model.binds_thinking and not _bound(signature, prefix.digest(), link):
                if not _drops_mismatches(request):
                    differs = _SYSTEM_DIFFERS if signature.system != system else ""
                    raise invalid(f"{placed.path}: {_mismatch(betas)}{differs}")
                dropped.append(Dropped(placed, "prefix_binding_mismatch"))
            else:
                link = _code(placed.block["signature"])
    return History(prefix.digest(), system, link, tuple(dropped))


def after_compaction(
    request: Mapping[str, Any], summary: Mapping[str, Any] | None, dropped: tuple[Dropped, ...]
) -> History:
    """What a new thinking block is bound to that follows a compaction block."""
    prefix = _prefix(request)
    if summary:
        prefix.add("assistant", summary)
    return History(prefix.digest(), _system_code(request), "", dropped)


def _prefix(request: Mapping[str, Any]) -> _Prefix:
    return _Prefix(request.get("system") or (), request.get("tools") or ())


def _system_code(request: Mapping[str, Any]) -> str:
    return _code(_Prefix(request.get("system") or (), ()).digest())


def _signature(placed: PlacedBlock) -> _Signature:
    block = placed.block
    if block["type"] == "redacted_thinking":
        raise invalid(f"{placed.path}: Invalid `data` in `redacted_thinking` block")
    try:
        mark, *parts = base64.b64decode(block["signature"], validate=True).decode().split("|")
        signature = _Signature(*parts)
    except (binascii.Error, UnicodeDecodeError, TypeError):
        mark, signature = "", _Signature("", "", "", "", "")
    genuine = hmac.compare_digest(signature.seal, _seal(signature.model, signature.link, block["thinking"]))
    if mark != _MARK or not genuine:
        raise invalid(f"{placed.path}: Invalid `signature` in `thinking` block")
    return signature


def _bound(signature: _Signature, prefix: str, link: str) -> bool:
    in_order = not link or signature.link == link
    return in_order and hmac.compare_digest(signature.binding, _code(signature.seal, prefix))


def _drops_mismatches(request: Mapping[str, Any]) -> bool:
    binding = (request.get("thinking") or {}).get("block_binding") or {}
    return bool(binding.get("prefix_mismatch_behavior") == "drop_block")


def _mismatch(betas: frozenset[str]) -> str:
    message = (
        "Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the "
        'block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
    )
    if BLOCK_BINDING_BETA in betas:
        return message
    return f"{message} That setting requires the `{BLOCK_BINDING_BETA}` value in the `anthropic-beta` header."


class _Prefix:
    """A running digest, so that checking a long conversation takes one pass."""

    def __init__(self, system: str | Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> None:
        self._digest = hashlib.sha256()
        for tool in tools:
            self.add("tool", tool)
        for block in blocks_of(system):
            self.add("system", block)

    def add(self, role: str, block: Mapping[str, Any]) -> None:
        unmarked = {key: value for key, value in block.items() if key != "cache_control"}
        self._digest.update(json.dumps([role, unmarked], sort_keys=True).encode() + b"\n")

    def digest(self) -> str:
        return self._digest.hexdigest()


def _seal(model: str, link: str, text: str) -> str:
    return _code(model, link, text)


def _code(*parts: str) -> str:
    return hmac.new(_KEY, "\0".join(parts).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]
