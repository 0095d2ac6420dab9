"""Prompt-cache accounting: which input tokens a request reads from the cache and which it writes.

As documented (https://platform.claude.com/docs/en/build-with-claude/prompt-caching):

- A prompt is cached in the order tools, system, messages. A top-level `cache_control` puts a breakpoint on
  the last block; a block with its own `cache_control` is a breakpoint too.
- A request writes one entry for each breakpoint, the whole prefix that ends there, and none for earlier
  positions.
- A read looks back from a breakpoint over 20 positions, the breakpoint among them, for an entry that an
  earlier request wrote. So a request reads all of the one before it while the conversation only grows, by
  fewer than 20 blocks a turn; after a change in the middle only entries that end before it are left, if one
  is in reach.
- A prefix shorter than the model's minimum is neither read nor written, without an error.
- An entry lives for its ttl after it was last written or read.

Time is given by the caller in seconds, so the same requests give the same counts.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from memory_demo.offline.tokens import MESSAGE_TOKENS, TOOL_USE_PROMPT_TOKENS, count_block, count_tool
from memory_demo.offline.turns import blocks_of

FIVE_MINUTES = 300.0
LOOKBACK = 20

_NO_BLOCK: Mapping[str, Any] = {}


class CacheUsage(NamedTuple):
    """Input tokens of one request by how they are billed. The three add up to the whole prompt."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class _Entry(NamedTuple):
    expires: float
    ttl: float


class _Placed(NamedTuple):
    """A tool or block of the prompt, where it stands, and the tokens of the structure around it."""

    place: str
    block: Mapping[str, Any]
    around: int


class PromptCache:
    """The cache of one account. Calls change it, so concurrent callers need a lock."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def account(
        self,
        *,
        model: str,
        segments: Sequence[tuple[str, int]],
        minimum: int,
        now: float,
        breakpoints: Iterable[int] | None = None,
        ttl: float = FIVE_MINUTES,
    ) -> CacheUsage:
        """Read and write the cache for one request.

        `segments` are (digest, tokens) of the prompt's pieces in order. `breakpoints` are numbers of
        segments, each the length of a prefix to cache; by default there is one, after the last segment.
        `minimum` is the number of tokens below which the model caches nothing. `now` and `ttl` are seconds.
        """
        self._entries = {key: entry for key, entry in self._entries.items() if entry.expires > now}
        keys = list(accumulate((digest for digest, _ in segments), _extend, initial=_digest(model)))
        totals = list(accumulate((tokens for _, tokens in segments), initial=0))
        ends = {len(segments)} if breakpoints is None else set(breakpoints)
        cacheable = [end for end in ends if totals[end] >= minimum]
        if not cacheable:
            return CacheUsage(totals[-1], 0, 0)
        read, written = max(self._longest_entry(keys, end) for end in cacheable), max(cacheable)
        for end in {read, *cacheable} - {0}:
            lifetime = self._entries.get(keys[end], _Entry(now, ttl)).ttl
            self._entries[keys[end]] = _Entry(now + lifetime, lifetime)
        return CacheUsage(totals[-1] - totals[written], totals[written] - totals[read], totals[read])

    def _longest_entry(self, keys: Sequence[str], end: int) -> int:
        positions = range(end, max(0, end - LOOKBACK), -1)
        return next((position for position in positions if keys[position] in self._entries), 0)


def prompt_segments(
    system: str | Sequence[Mapping[str, Any]] | None,
    tools: Iterable[Mapping[str, Any]] | None,
    messages: Iterable[Mapping[str, Any]],
) -> list[tuple[str, int]]:
    """The prompt as (digest, estimated tokens): one segment for each tool, system block and message block.

    The tokens add up to `tokens.count_input`. `cache_control` marks are not part of a digest.
    """
    return [(_block_digest(piece), _tokens(piece)) for piece in _placed(system, tools, messages)]


def explicit_breakpoints(
    system: str | Sequence[Mapping[str, Any]] | None,
    tools: Iterable[Mapping[str, Any]] | None,
    messages: Iterable[Mapping[str, Any]],
) -> list[int]:
    """Where blocks of their own `cache_control` end the prefix to cache, as numbers of segments.

    Marks inside a tool result's content are not looked for.
    """
    pieces = enumerate(_placed(system, tools, messages), start=1)
    return [position for position, piece in pieces if piece.block.get("cache_control")]


def _placed(
    system: str | Sequence[Mapping[str, Any]] | None,
    tools: Iterable[Mapping[str, Any]] | None,
    messages: Iterable[Mapping[str, Any]],
) -> Iterator[_Placed]:
    for index, tool in enumerate(tools or ()):
        yield _Placed("tool", tool, TOOL_USE_PROMPT_TOKENS if index == 0 else 0)
    for block in blocks_of(system or ()):
        yield _Placed("system", block, 0)
    for index, message in enumerate(messages):
        place = f"{index} {message['role']}"
        for position, block in enumerate(blocks_of(message["content"]) or [_NO_BLOCK]):
            yield _Placed(place, block, MESSAGE_TOKENS if position == 0 else 0)


def _tokens(piece: _Placed) -> int:
    if piece.block is _NO_BLOCK:
        return piece.around
    return piece.around + (count_tool if piece.place == "tool" else count_block)(piece.block)


def _block_digest(piece: _Placed) -> str:
    unmarked = {key: value for key, value in piece.block.items() if key != "cache_control"}
    return _digest(json.dumps([piece.place, unmarked], sort_keys=True, separators=(",", ":")))


def _extend(prefix: str, digest: str) -> str:
    return _digest(f"{prefix} {digest}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
