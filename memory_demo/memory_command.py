"""`memory`: what the assistant has learnt, and the way back."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from memory_demo.console import memory_handler, say
from memory_demo.memory_view import memory_tree, read_notes
from memory_demo.review_targets import CommandError

if TYPE_CHECKING:
    from memory_journal import Entry


def run_memory(arguments: argparse.Namespace) -> int:
    root = memory_root(arguments)
    if arguments.action in ("history", "undo", "restore"):
        return _run_journal(arguments)
    if arguments.action == "tree":
        say(memory_tree(root))
    elif not (root.is_dir() and any(root.iterdir())):
        say(f"There is nothing in {root}.")
    elif arguments.action == "show":
        say(as_listed(notes(arguments)))
    elif arguments.yes or _confirmed(f"Delete everything in {root}? [y/N] "):
        answer = memory_handler(arguments).clear_all_memory()
        if "error" in answer:
            raise CommandError(f"Memory was not cleared: {answer['error']}")
        say("Memory is empty now.")
        say(f"{arguments.memory / 'journal.jsonl'} keeps what was deleted, for memory restore.", sys.stderr)
    else:
        say("Nothing was deleted.")
    return 0


def _run_journal(arguments: argparse.Namespace) -> int:
    if not memory_root(arguments).is_dir():
        raise CommandError(f"There is no memory in {arguments.memory}, and so no journal.")
    journal = memory_handler(arguments).journal
    assert journal is not None
    if arguments.action == "history":
        entries = journal.history(arguments.target)
        say("\n".join(map(_entry_as_text, entries)) or "No command is on record.")
        return 0
    if arguments.action == "undo":
        answer = journal.undo(arguments.target)
    else:
        answer = journal.restore(_time(arguments.target))
    if "error" in answer:
        raise CommandError(answer["error"])
    say(f"Set back to what it was:\n{answer['success']}" if "/" in answer["success"] else answer["success"])
    return 0


def _entry_as_text(entry: Entry) -> str:
    about = " -> ".join(filter(None, (entry.path, entry.new_path)))
    return f"{entry.id}  {entry.time.isoformat()}  {entry.command} {about}  {entry.result}  {entry.reason}".rstrip()


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


def as_listed(notes: Mapping[str, str]) -> str:
    return "\n".join(f"{path}\n\n{textwrap.indent(text.rstrip(), '    ')}\n" for path, text in notes.items())


def memory_root(arguments: argparse.Namespace) -> Path:
    root: Path = arguments.memory.absolute() / "memories"
    return root


def notes(arguments: argparse.Namespace) -> dict[str, str]:
    try:
        return read_notes(memory_root(arguments))
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
