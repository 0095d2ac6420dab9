"""What is kept of a request and its answer: no key, no header that identifies anybody, no text that holds a secret.

A recording is a directory. `about.json` says when it was made and with which model, `exchanges.jsonl` has one exchange a
line in the order of the answers, `costs.jsonl` what each answer cost. Several processes may append to these two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

ABOUT = "about.json"
EXCHANGES = "exchanges.jsonl"
COSTS = "costs.jsonl"

# Not written by a person or a model: screening them would find random strings that they are meant to be.
_NOT_TEXT = frozenset({"signature", "data", "encrypted_content", "id", "tool_use_id", "type", "request_id"})
_DELTAS = ("text", "partial_json", "thinking", "content")


class RecordingError(ValueError):
    """A recording that cannot be read; the message is one sentence that says what to change."""


@dataclass(frozen=True)
class Exchange:
    """A request with the status and body of its answer: JSON, or the text of an event stream.

    `headers` are those of the answer that say what it is. `withheld` says why an exchange was not kept; request and
    answer are then empty.
    """

    method: str
    path: str
    betas: tuple[str, ...]
    request: Any
    status: int
    headers: dict[str, str]
    answer: Any
    withheld: str = ""

    @property
    def asked(self) -> dict[str, Any]:
        """What a request must equal to get this answer."""
        return {"method": self.method, "path": self.path, "betas": list(self.betas), "request": self.request}


@dataclass(frozen=True)
class About:
    """When a recording was made, and with which model."""

    date: str
    model: str


def start(directory: Path, about: About) -> None:
    """Make the directory of a new recording."""
    directory.mkdir(parents=True)
    (directory / ABOUT).write_text(json.dumps(asdict(about)) + "\n", encoding="utf-8")
    (directory / EXCHANGES).touch()


def about(directory: Path) -> About:
    """What a recording says of itself. Raises RecordingError."""
    try:
        return About(**json.loads((directory / ABOUT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise RecordingError(f"{directory} is not a recording; give the directory of one.") from None


def append(directory: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Add one line to a file of a recording."""
    line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"
    with (directory / name).open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.write(line)


def add(directory: Path, exchange: Exchange) -> None:
    """Append an exchange. Raises OSError."""
    append(directory, EXCHANGES, asdict(exchange))


def load(directory: Path) -> list[Exchange]:
    """The exchanges of a recording. Raises RecordingError."""
    path = directory / EXCHANGES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return [Exchange(**{**entry, "betas": tuple(entry["betas"])}) for entry in entries]
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read ({error.strerror}); give the directory of a recording."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{path} is not a recording of this version ({error}); make it anew.") from None


def screened(exchange: Exchange) -> Exchange:
    """The exchange as it may be written: itself, or only the fact that it was withheld."""
    for part, value in (("request", exchange.request), ("reply", exchange.answer)):
        for text in _texts(value):
            reason = _secret_in(text)
            if reason:
                withheld = f"the {part} was not kept: {reason}"
                kept = (exchange.method, exchange.path, exchange.betas, None, exchange.status)
                return Exchange(*kept, exchange.headers, None, withheld)
    return exchange


def difference(recorded: Any, sent: Any, where: str = "") -> str:
    """Where two JSON values first differ, in words; "" if they do not."""
    if isinstance(recorded, dict) and isinstance(sent, dict):
        for key in [*recorded, *(key for key in sent if key not in recorded)]:
            place = f"{where}.{key}" if where else str(key)
            if key not in sent or key not in recorded:
                return f"{place} is only in {'the recording' if key in recorded else 'the request'}"
            if found := difference(recorded[key], sent[key], place):
                return found
        return ""
    if isinstance(recorded, list) and isinstance(sent, list):
        for number, (one, other) in enumerate(zip(recorded, sent, strict=False)):
            if found := difference(one, other, f"{where}[{number}]"):
                return found
        if len(recorded) != len(sent):
            return f"{where} has {len(recorded)} items in the recording and {len(sent)} in the request"
        return ""
    if recorded == sent and isinstance(recorded, bool) == isinstance(sent, bool):
        return ""
    return f"{where} is {_shown(recorded, sent)} in the recording and {_shown(sent, recorded)} in the request"


def stream_texts(body: str) -> Iterator[str]:
    """The texts of an event stream, each block's pieces put together."""
    blocks: dict[tuple[int, str], list[str]] = {}
    for line in body.splitlines():
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            for kind in _DELTAS:
                piece = (event.get("delta") or {}).get(kind)
                if isinstance(piece, str):
                    blocks.setdefault((event.get("index", 0), kind), []).append(piece)
    yield from ("".join(pieces) for pieces in blocks.values())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from stream_texts(value) if value.startswith("event: ") else (value,)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _NOT_TEXT:
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


@lru_cache(maxsize=4096)
def _secret_in(text: str) -> str | None:
    from memory_screens import secrets_screen

    return secrets_screen("", text)


def _shown(value: Any, other: Any) -> str:
    """A value, or of a long text the part where it differs from another."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= 80 or not isinstance(other, str):
        return text if len(text) <= 80 else f"{text[:80]}..."
    second = json.dumps(other, ensure_ascii=False)
    start = next((i for i, (a, b) in enumerate(zip(text, second, strict=False)) if a != b), 0)
    return re.sub(r"\s+", " ", f"...{text[max(0, start - 30) : start + 50]}...")
