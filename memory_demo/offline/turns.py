"""A conversation as the API reads it: by turns, every content as blocks, each block with its place in the request."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class PlacedBlock(NamedTuple):
    """A content block and where the request has it: `messages[message].content[position]`."""

    message: int
    position: int
    block: Mapping[str, Any]

    @property
    def path(self) -> str:
        """As in the API's error messages."""
        return f"messages.{self.message}.content.{self.position}"


class Turn(NamedTuple):
    """Consecutive messages of one role, which the API takes as one."""

    role: str
    blocks: tuple[PlacedBlock, ...]

    @property
    def key(self) -> str:
        """Identifies a turn by role and content."""
        return json.dumps([self.role, [placed.block for placed in self.blocks]], sort_keys=True)


def turns_of(messages: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The conversation by turns; a string content is one text block."""
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        blocks = tuple(
            PlacedBlock(number, position, block)
            for position, block in enumerate(blocks_of(message.get("content") or ()))
        )
        if turns and turns[-1].role == message["role"]:
            turns[-1] = Turn(message["role"], turns[-1].blocks + blocks)
        else:
            turns.append(Turn(message["role"], blocks))
    return turns


def blocks_of(content: str | Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Content as blocks; a string is one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
