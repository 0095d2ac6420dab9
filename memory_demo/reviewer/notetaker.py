"""The rest of what the stand-in can do in a chat: store a sentence when told to, and quote memory when asked."""

from __future__ import annotations

import re
from collections.abc import Mapping

NOTES = "notes.md"

_REMEMBER = re.compile(
    r"\b(?:(?:please\s+)?(?:remember|note)\s+(?:down\s+)?that|note\s*:|for the record\s*[:,])\s*(.+)",
    re.I | re.S,
)
_SMALL_WORDS = frozenset(
    {"that", "this", "what", "when", "where", "which", "with", "your", "about", "tell", "does"}
)


def to_remember(words: str) -> str:
    """The sentence that a request asks to store, or ""."""
    found = _REMEMBER.search(words)
    return " ".join(found[1].split()) if found else ""


def is_question(words: str) -> bool:
    return "?" in words


def quotes(question: str, notes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Path and line of the memory lines that share the most words with a question, best first."""
    asked = _stems(question)
    lines = [(path, line.strip("-*# ")) for path, text in sorted(notes.items()) for line in text.splitlines()]
    scored = [(len(asked & _stems(line)), path, line) for path, line in lines if line]
    best = max((score for score, _, _ in scored), default=0)
    return [(path, line) for score, path, line in scored if score == best > 0][:3]


def _stems(text: str) -> frozenset[str]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(word[:5] for word in words if len(word) > 3 and word not in _SMALL_WORDS)
