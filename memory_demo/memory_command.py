"""`memory`: what the assistant has learnt, and the way back."""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from memory_demo.console import memory_handler, say
from memory_demo.memory_view import memory_tree, read_notes
from memory_demo.review_targets import CommandError
from memory_stores import Version
from memory_stores.history import HistoryError

if TYPE_CHECKING:
    from memory_tool import MemoryToolHandler


def run_memory(arguments: argparse.Namespace) -> int:
    if not (arguments.memory / "memories").is_dir():  # to look at memory does not make it
        say(f"There is nothing in {arguments.memory}.")
        return 0 if arguments.action in ("show", "tree", "clear") else 2
    handler = memory_handler(arguments)
    is_empty = len(list(handler.store.entries((), 1))) == 1
    match arguments.action:
        case "show" | "clear" if is_empty:
            say(f"There is nothing in {arguments.memory}.")
        case "show":
            say(as_listed(read_notes(handler.store)))
        case "tree":
            say(memory_tree(handler.store))
        case "clear":
            _clear(handler, confirmed=arguments.yes)
        case "history":
            versions = handler.history.versions(arguments.target)
            texts = [_as_text(handler, version, arguments.diff) for version in versions]
            say("\n".join(texts) or "No change is on record.")
        case "undo":
            _say_what_changed(handler.history.undo(arguments.target))
        case "restore":
            _say_what_changed(handler.history.restore(_time(arguments.target)))
        case "redact":
            _say_what_changed(handler.history.redact(arguments.target))
    return 0


def as_listed(notes: Mapping[str, str]) -> str:
    return "\n".join(f"{path}\n\n{textwrap.indent(text.rstrip(), '    ')}\n" for path, text in notes.items())


def _clear(handler: MemoryToolHandler, *, confirmed: bool) -> None:
    if not (confirmed or _confirmed(f"Delete everything in {handler.memory_root}? [y/N] ")):
        say("Nothing was deleted.")
        return
    answer = handler.clear_all_memory()
    if "error" in answer:
        raise CommandError(f"Memory was not cleared: {answer['error']}")
    say("Memory is empty now.")
    say("The history keeps what was deleted: memory restore brings it back.", sys.stderr)


def _say_what_changed(answer: Mapping[str, str]) -> None:
    if "error" in answer:
        raise CommandError(answer["error"])
    changed = answer["success"]
    say(f"Set back to what it was:\n{changed}" if changed.startswith("/memories/") else changed)


def _as_text(handler: MemoryToolHandler, version: Version, with_diff: bool) -> str:
    size = "redacted" if version.redacted else "" if version.size is None else f"{version.size:,} B"
    by = "found there" if version.created_by is None else version.created_by and f"by {version.created_by}"
    about = (
        version.id,
        f"{version.created_at:%Y-%m-%d %H:%M:%S.%f}Z",
        version.operation,
        version.path,
        size,
        by,
    )
    line = "  ".join(filter(None, about))
    return f"{line}\n{_diff(handler, version)}" if with_diff else line


def _diff(handler: MemoryToolHandler, version: Version) -> str:
    """What a version changed in its file, as a unified diff."""
    versions = handler.history.versions(version.path)
    number = [other.id for other in versions].index(version.id)
    before = _lines(handler, versions[number - 1 : number])
    after = _lines(handler, versions[number : number + 1])
    if before is None or after is None:
        return "(its content is not on record any more)\n"
    return "".join(difflib.unified_diff(before, after, version.path, version.path))


def _lines(handler: MemoryToolHandler, versions: Sequence[Version]) -> list[str] | None:
    """The lines of a version, none for no version or a deletion; None if they are not known any more."""
    try:
        data = (handler.history.content(versions[0].id) if versions else b"") or b""
    except HistoryError:
        return None
    return [f"{line}\n" for line in data.decode("utf-8", "replace").splitlines()]


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is not a time; give one such as 2026-11-22T21:30.") from None


def _confirmed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        raise CommandError(
            "Nothing was deleted, as nobody answered; add --yes to clear without asking."
        ) from None
