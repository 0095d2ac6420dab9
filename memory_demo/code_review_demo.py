"""A code review assistant that remembers: `CodeReviewAssistant`, and a command line around it.

memory-review                      three sessions on sample code: learn, apply, a long one
memory-review review app.py        review your own files
memory-review review --diff main   review what has changed since main
memory-review memory show          what it has learnt
memory-review memory history       every version of every note, to undo, restore or redact
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

if not __package__:  # run as a file: imports are found from the repository root
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from memory_demo.assistant import CONTEXT_MANAGEMENT, SMALL_CONTEXT, CodeReviewAssistant
from memory_demo.command_error import CommandError
from memory_demo.console import STAND_IN, OutputError, api_errors, connect_reviewer, memory_handler, say
from memory_demo.memory_command import add_memory_parser, as_listed
from memory_demo.memory_location import MemoryLocation, default_memory
from memory_demo.memory_moving import run_copy
from memory_demo.memory_view import memory_tree, read_notes
from memory_demo.review_command import add_review_parser
from memory_demo.review_report import Review, total_cost
from memory_stores.protocol import StoreError

logger = logging.getLogger(__name__)

SAMPLE_CODE = Path(__file__).resolve().parent / "sample_code"


class Session(NamedTuple):
    """One session of the demonstration."""

    title: str
    run: Callable[[CodeReviewAssistant], list[Review]]
    context_management: dict[str, Any] = CONTEXT_MANAGEMENT


def _learn(assistant: CodeReviewAssistant) -> list[Review]:
    symptom = "Users report fewer results than expected, and the count differs between runs. Find out why."
    return [_review_sample(assistant, "web_scraper_v1.py", symptom)]


def _apply(assistant: CodeReviewAssistant) -> list[Review]:
    return [_review_sample(assistant, "api_client_v1.py", "Review this.")]


def _review_all(assistant: CodeReviewAssistant) -> list[Review]:
    from memory_demo.source_tools import python_files

    return assistant.review_files(python_files(SAMPLE_CODE))


def _review_sample(assistant: CodeReviewAssistant, name: str, description: str) -> Review:
    return assistant.review_code((SAMPLE_CODE / name).read_text("utf-8"), name, description)


SESSIONS = (
    Session("learn from a bug that users noticed", _learn),
    Session("apply the lesson to other code, in a new conversation", _apply),
    Session("review every sample file, in a small context", _review_all, SMALL_CONTEXT),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, as --help explains it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    code, told = _run(argv)
    try:
        if told:
            say(told, sys.stderr)
    except (OutputError, BrokenPipeError):
        _let_go(sys.stderr)
    return code


def _run(argv: Sequence[str] | None) -> tuple[int, str]:
    """Run a command: its exit code, and what stderr has to say of it."""
    try:
        if sys.stdout is None:
            raise CommandError("stdout is closed, so nobody would see what comes of it.")
        arguments = _parse(argv)
        code: int = arguments.run(arguments)
        return code, ""
    except CommandError as error:
        if isinstance(error, OutputError):
            _let_go(sys.stdout)
        return 2, f"memory-review: {error}"
    except StoreError as error:
        return 2, f"memory-review: The memory fails ({type(error).__name__}): {error.__cause__ or error}"
    except (KeyboardInterrupt, EOFError):
        return 130, "\nInterrupted; memory keeps what was written before."
    except BrokenPipeError:
        _let_go(sys.stdout, sys.stderr)
        return 141, ""
    except OSError as error:
        if error.filename is None:  # then the sentence does not say where
            logger.exception("memory-review ended early")
        where = f" for {error.filename}" if error.filename else ""
        return 2, f"memory-review: The system refused{where}: {error.strerror or error}."


def _let_go(*streams: TextIO) -> None:
    """Send what is left in them nowhere: the interpreter flushes them once more on its way out, and would fail again."""
    for stream in streams:
        with contextlib.suppress(OSError):  # no file behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    # Taken before and after the command: what is not given must not overwrite what was.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--memory",
        metavar="PLACE",
        help="directory, or postgresql:// address of a database that memory migrate has prepared (default: a directory "
        "of your own for each repository; for the three sessions ./memory_storage)",
    )
    common.add_argument(
        "--scope",
        action="append",
        metavar="PART",
        help="whose memory in that place; repeat for each part, such as --scope acme --scope user-42",
    )
    common.add_argument("--model", help="model to ask (default: ANTHROPIC_MODEL, else a current one)")
    common.add_argument("--offline", action="store_true", help=f"no key and no network: {STAND_IN}, answers")
    common.add_argument(
        "--env",
        type=Path,
        metavar="FILE",
        help="read settings from this file (default: .env of the project's own checkout, never of this directory)",
    )
    parser = argparse.ArgumentParser(
        prog="memory-review",
        description="A code review assistant with a memory. Without a command: three sessions on sample code.",
        epilog="exit codes: 0 done; 1 there are findings, with --fail-on-findings; 2 not done, or not all of it, and "
        "stderr says why (it comes before 1); 130 interrupted",
        parents=[common],
    )
    parser.add_argument("--session", type=int, choices=(1, 2, 3), help="run only this session")
    parser.add_argument("--no-pause", action="store_true", help="do not wait for Enter between sessions")
    parser.set_defaults(run=_run_demo)
    commands = parser.add_subparsers(title="commands", metavar="{review,memory}")
    add_review_parser(commands, common)
    add_memory_parser(commands, common)
    arguments = parser.parse_args(
        argv, argparse.Namespace(memory=None, scope=None, model=None, offline=False, env=None, propose=None)
    )
    if arguments.run is run_copy and (arguments.memory is not None or arguments.scope):
        raise CommandError(
            "memory copy takes no --memory and no --scope: give FROM and TO, with --from-scope and --to-scope."
        )
    if arguments.memory is None:
        is_demo = arguments.run is _run_demo
        arguments.memory = "memory_storage" if is_demo else str(default_memory(Path.cwd()))
    arguments.memory = MemoryLocation(arguments.memory, tuple(arguments.scope or ()))
    if arguments.run is not _run_demo and (arguments.session or arguments.no_pause):
        parser.error("--session and --no-pause go without a command")
    return arguments


def _run_demo(arguments: argparse.Namespace) -> int:
    numbers = [arguments.session] if arguments.session else range(1, len(SESSIONS) + 1)
    pauses = sys.stdin.isatty() and not arguments.no_pause
    reviewer = connect_reviewer(arguments, said=sys.stdout, done=sys.stdout)
    memory = memory_handler(arguments)
    for number in numbers:
        if pauses and number > numbers[0]:
            input(f"\nPress Enter for session {number}, Ctrl-C to stop. ")
        session = SESSIONS[number - 1]
        say(f"\nSession {number}: {session.title}\n")
        before = read_notes(memory.store)
        with api_errors():
            reviews = session.run(reviewer.assistant(context_management=session.context_management))
        for review in reviews:
            say(f"\n{review.text}")
        say(f"\n{_written(before, read_notes(memory.store))}")
        say(f"Memory now holds:\n{memory_tree(memory.store)}\n\nCost: {total_cost(reviews)}")
        for review in reviews:
            if review.problem:
                raise CommandError(f"The review of {review.file} is incomplete: {review.problem}.")
    return 0


def _written(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The notes that a session wrote or changed."""
    notes = {path: text for path, text in after.items() if text != before.get(path)}
    return f"It wrote to memory:\n\n{as_listed(notes)}" if notes else "It wrote nothing to memory."


__all__ = ["CodeReviewAssistant", "main"]

if __name__ == "__main__":
    sys.exit(main())
