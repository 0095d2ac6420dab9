"""`memory`: what the assistant has learnt, and the way back."""

from __future__ import annotations

import argparse
import difflib
import getpass
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memory_demo.assistant import guarded_memory
from memory_demo.command_error import CommandError
from memory_demo.console import memory_handler, say
from memory_demo.memory_moving import add_moving_actions
from memory_demo.memory_view import as_proposed, memory_tree, read_notes
from memory_stores import Version
from memory_stores.history import HistoryError
from memory_stores.proposals import ProposalError, digest_of

if TYPE_CHECKING:
    from memory_tool import MemoryToolHandler


def add_memory_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `memory` and its actions; `common` holds the options that every command takes."""
    memory = commands.add_parser("memory", parents=[common], help="look at what it has learnt, and go back")
    actions = memory.add_subparsers(title="actions", metavar="ACTION", required=True)

    def add(name: str, run: Callable[[argparse.Namespace, MemoryToolHandler], None], text: str) -> Any:
        action = actions.add_parser(name, parents=[common], help=text, description=text.capitalize() + ".")
        action.set_defaults(run=partial(_run, run))
        return action

    add("show", _show, "print the notes")
    add("tree", _tree, "list the notes with their sizes")
    clear = add("clear", _clear, "delete every note")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    history = add("history", _history, "list the versions of every note, or of one")
    history.add_argument("path", nargs="?", metavar="PATH", help="such as /memories/race_conditions.md")
    history.add_argument("--diff", action="store_true", help="show what each version changed")
    undo = add("undo", _undo, "take back the change that made a version")
    redact = add("redact", _redact, "remove the content of a version for good")
    for action in (undo, redact):
        action.add_argument("version", metavar="VERSION", help="an id that memory history lists")
    restore = add("restore", _restore, "take back every change after a time")
    restore.add_argument("time", metavar="TIME", help="such as 2026-11-22T21:30")
    proposals = add("proposals", _proposals, "list what waits for approval, or show one proposal")
    proposals.add_argument("name", nargs="?", metavar="NAME")
    approve = add("approve", _approve, "put a proposal into memory, or some of its files")
    approve.add_argument("name", metavar="NAME")
    approve.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="such as /memories/race_conditions.md (default: all its files)",
    )
    approve.add_argument(
        "--as", dest="by", default=None, metavar="NAME", help="who approves (default: your user name)"
    )
    looked_at = approve.add_mutually_exclusive_group(required=True)
    looked_at.add_argument(
        "--seen", metavar="DIGEST", help="what you looked at: memory proposals NAME ends with it"
    )
    looked_at.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="the proposal that review --to wrote to FILE"
    )
    approve.set_defaults(run=_run_approve)
    reject = add("reject", _reject, "drop a proposal")
    reject.add_argument("name", metavar="NAME")
    add_moving_actions(actions, common)


def _run(
    action: Callable[[argparse.Namespace, MemoryToolHandler], None], arguments: argparse.Namespace
) -> int:
    """Do it in the memory, if there is one: none is made for it."""
    if arguments.memory.exists():
        action(arguments, memory_handler(arguments))
    elif action in (_show, _tree, _clear, _history, _proposals):
        say(f"There is nothing in {arguments.memory}.")
    else:
        raise CommandError(f"There is nothing in {arguments.memory}.")
    return 0


def _run_approve(arguments: argparse.Namespace) -> int:
    """Approve what waits in the memory, or what a file brings, which waits there for as long as that takes."""
    if arguments.file is None:
        return _run(_approve, arguments)
    from memory_demo.proposal_file import read_proposal, taken_in

    document = read_proposal(arguments.file, arguments.name)  # first: only a proposal makes a memory
    session = guarded_memory(store=arguments.memory.store(), proposal=arguments.name)
    try:
        with taken_in(document, session) as arguments.seen:
            _approve(arguments, memory_handler(arguments))
    except ProposalError as error:
        raise CommandError(str(error)) from None
    return 0


def _show(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    say(as_listed(read_notes(handler.store)) or f"There is nothing in {arguments.memory}.")


def _tree(_: argparse.Namespace, handler: MemoryToolHandler) -> None:
    say(memory_tree(handler.store))


def _clear(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    if len(list(handler.store.entries((), 1))) == 1:
        say(f"There is nothing in {arguments.memory}.")
    elif arguments.yes or _confirmed(
        f"Delete everything in {handler.memory_root or arguments.memory}? [y/N] "
    ):
        _done(handler.clear_all_memory())
        say("Memory is empty now.")
        say("The history keeps what was deleted: memory restore brings it back.", sys.stderr)
    else:
        say("Nothing was deleted.")


def _history(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    try:
        versions = handler.history.versions(arguments.path)
    except HistoryError as error:
        raise CommandError(str(error)) from None
    texts = [_as_text(handler, version, arguments.diff) for version in versions]
    say("\n".join(texts) or "No change is on record.")


def _undo(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    _say_what_changed(_done(handler.history.undo(arguments.version)))


def _restore(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    _say_what_changed(_done(handler.history.restore(_time(arguments.time))))


def _redact(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    say(_done(handler.history.redact(arguments.version)))


def _proposals(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    if arguments.name is None:
        lines = [
            f"{proposal.name}  {proposal.created_at:%Y-%m-%d %H:%M}Z  {', '.join(proposal.paths)}"
            for proposal in handler.proposals.list()
        ]
        say("\n".join(lines) or "Nothing waits for approval.")
        return
    try:
        files = handler.proposals.diff(arguments.name)
    except ProposalError as error:
        raise CommandError(str(error)) from None
    say(as_proposed(files))
    # The options first: paths may follow, and argparse wants them beside the name.
    approve = ["memory", "approve", "--seen", digest_of(files), "--", arguments.name]
    command = shlex.join(["memory-review", *arguments.memory.options, *approve])
    left_out = ", with what is left out of the address" if arguments.memory.hides_some else ""
    say(f"To approve what is shown here{left_out}: {command}")


def _approve(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    by = arguments.by or getpass.getuser()
    paths, seen = arguments.paths or None, arguments.seen
    approved = _done(handler.proposals.approve(arguments.name, paths, seen=seen, by=by))
    say(f"Approved by {by}:\n{approved}")


def _reject(arguments: argparse.Namespace, handler: MemoryToolHandler) -> None:
    say(_done(handler.proposals.reject(arguments.name)))


def as_listed(notes: Mapping[str, str]) -> str:
    return "\n".join(f"{path}\n\n{textwrap.indent(text.rstrip(), '    ')}\n" for path, text in notes.items())


def _done(answer: Mapping[str, str]) -> str:
    if "error" in answer:
        raise CommandError(answer["error"])
    return answer["success"]


def _say_what_changed(changed: str) -> None:
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
