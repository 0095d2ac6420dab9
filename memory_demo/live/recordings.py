"""What is kept of a request and its answer: no key, no header that identifies anybody, no text that holds a secret.

A recording is a directory. `about.json` says when it was made and with which model, `exchanges.jsonl` has one exchange a
line in the order of the answers, `costs.jsonl` what was booked for each request and what its answer corrected. Several
processes may append to these two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

_T = TypeVar("_T")

ABOUT = "about.json"
EXCHANGES = "exchanges.jsonl"
COSTS = "costs.jsonl"

# Fields by the type of their block that hold random strings by design: screening them would find just that.
_RANDOM = {
    "base64": {"data"},
    "redacted_thinking": {"data"},
    "thinking": {"signature"},
    "signature_delta": {"signature"},
    "compaction": {"signature", "encrypted_content"},
    "compaction_delta": {"encrypted_content"},
    "advisor_redacted_result": {"encrypted_content"},
    "web_search_result": {"encrypted_content"},
    "web_search_result_location": {"encrypted_index"},
    "encrypted_code_execution_result": {"encrypted_stdout"},
    "message": {"id"},
}
# Fields of a block that come in pieces.
_PIECES = ("text", "partial_json", "thinking", "content")


class RecordingError(ValueError):
    """A recording that cannot be read; the message is one sentence that says what to change."""


class RecordingFailed(BaseException):
    """An exchange could not be written down.

    Not an Exception, so that nothing on the way takes it for a request that failed, and asks and pays again.
    """


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
    (directory / COSTS).touch()


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


def read(directory: Path, name: str, made: Callable[[Any], _T]) -> list[_T]:
    """What is `made` of each line of a file of a recording. Raises RecordingError."""
    path = directory / name
    try:
        # As bytes: these split at line ends alone, and text at U+2028 too, which may stand in a JSON string.
        return [made(json.loads(line)) for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise RecordingError(
            f"{path} cannot be read ({error.strerror}); give the directory of a recording."
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise RecordingError(f"{path} is not a recording of this version ({error}); make it anew.") from None


def load(directory: Path) -> list[Exchange]:
    """The exchanges of a recording. Raises RecordingError."""
    return read(directory, EXCHANGES, lambda entry: Exchange(**{**entry, "betas": tuple(entry["betas"])}))


def screened(exchange: Exchange) -> Exchange:
    """The exchange as it may be written: itself, or only the fact that it was withheld."""
    answer = exchange.answer
    if is_stream(exchange.headers):
        answer = list(_stream_texts(answer))
    for part, value in (("request", exchange.request), ("reply", answer)):
        reason = secret_in(value)
        if reason:
            withheld = f"the {part} was not kept: {reason}"
            kept = (exchange.method, exchange.path, exchange.betas, None, exchange.status)
            return Exchange(*kept, exchange.headers, None, withheld)
    return exchange


def secret_in(value: Any) -> str | None:
    """Why a JSON value must not be written, or None."""
    return next(filter(None, map(_screen, _texts(value))), None)


def is_stream(headers: Mapping[str, str]) -> bool:
    """Whether an answer with these headers is an event stream."""
    return headers.get("content-type", "").startswith("text/event-stream")


def json_or_text(text: str) -> Any:
    """The value of a text that is JSON, and every other text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def stream_events(body: str) -> Iterator[Any]:
    """The data of each event of a stream: JSON, or a text that is none."""
    data: list[str] = []
    for line in [*body.encode().splitlines(), b""]:  # as bytes, as in `read`
        name, _, value = line.decode().partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield json_or_text("\n".join(data))
            data = []


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


def _stream_texts(body: str) -> Iterator[str]:
    """The texts of an event stream, each block's pieces put together."""
    pieces: dict[tuple[int, str], list[str]] = {}
    for event in stream_events(body):
        match event:
            case {"content_block": dict(part)} | {"delta": dict(part)}:
                for name in _PIECES:
                    if isinstance(part.get(name), str):
                        pieces.setdefault((event.get("index", 0), name), []).append(part.pop(name))
        yield from _texts(event)
    for (_, name), parts in pieces.items():
        text = "".join(parts)
        yield from _texts({"input": json_or_text(text)} if name == "partial_json" else text)


def _texts(value: Any, in_input: bool = False) -> Iterator[str]:
    """All texts in a JSON value. A tool's input is JSON of the model's own: no field of it is random by design."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, in_input)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "input" and not in_input:
                # Names stand beside their values there, and what is a password shows by its name.
                yield json.dumps(item, ensure_ascii=False)
                yield from _texts(item, True)
            elif in_input or not _is_random(str(value.get("type")), key):
                yield from _texts(item, in_input)


def _is_random(kind: str, field: str) -> bool:
    """Whether a field of a block of this type is an id of a tool use, a signature or something encrypted."""
    id_of = {"id": "tool_use", "tool_use_id": "tool_result"}.get(field)
    return field in _RANDOM.get(kind, ()) or (id_of is not None and kind.endswith(id_of))


@lru_cache(maxsize=4096)
def _screen(text: str) -> str | None:
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
