"""What a request is billed for, by the usage of its response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Billed(NamedTuple):
    """Tokens by how they are priced. The first three are the input; the last are those of the writes kept for an hour."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    ephemeral_1h_input_tokens: int = 0

    @property
    def whole_input(self) -> int:
        """All input tokens, cached or not."""
        return self.input_tokens + self.cache_creation_input_tokens + self.cache_read_input_tokens


def billed(usage: Mapping[str, Any]) -> Billed:
    """The tokens of a `usage` as JSON, all iterations of the answer together."""
    return Billed(*map(sum, zip(*iterations(usage), strict=True)))


def iterations(usage: Mapping[str, Any]) -> list[Billed]:
    """The tokens of each iteration of an answer: each has a prompt of its own, and so a price.

    Recorded: where there are `iterations`, the figures on top are the last one's alone. With compaction that is the
    answer without the summary, 220 tokens on top where 55,416 are billed.
    """
    parts = [{**part, **(part.get("cache_creation") or {})} for part in usage.get("iterations") or [usage]]
    return [Billed(*(part.get(name) or 0 for name in Billed._fields)) for part in parts]
