"""What every command of the command line shares: who reviews, which memory, what is said to whom."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from memory_demo.assistant import CodeReviewAssistant, guarded_memory
from memory_demo.command_error import CommandError
from memory_demo.narration import story
from memory_demo.review_report import printable

if TYPE_CHECKING:
    from memory_demo.demo_helpers import Turn
    from memory_tool import MemoryToolHandler

STAND_IN = "a rule-based stand-in, not Claude"


@dataclass(frozen=True)
class Reviewer:
    """Who reviews, and how to get an assistant that asks them."""

    name: str
    offline: bool
    assistant: Callable[..., CodeReviewAssistant]


def connect_reviewer(arguments: argparse.Namespace, *, said: TextIO, done: TextIO) -> Reviewer:
    """The reviewer that the arguments and the settings ask for; who it is goes to `said`, what it does to `done`."""
    from memory_demo.settings import connect, load_settings

    with api_errors():
        forced = {"MEMORY_COOKBOOK_OFFLINE": "1"} if arguments.offline else {}
        settings = load_settings({**os.environ, **forced}, _env_file(arguments.env))
        connection = connect(replace(settings, model=arguments.model or settings.model))
    reason = "--offline was given" if arguments.offline else settings.reason
    name = STAND_IN if connection.offline else connection.model
    say(f"{'Offline' if connection.offline else 'Live'}, because {reason}. The reviewer is {name}.", said)
    if connection.offline:
        from memory_demo.reviewer import what_it_knows

        say(what_it_knows(), said)
    assistant = partial(
        CodeReviewAssistant,
        client=connection.client,
        model=connection.model,
        memory_handler=memory_handler(arguments),
        on_turn=lambda turn: _say_turn(turn, done),
    )
    return Reviewer(name, connection.offline, assistant)


def _env_file(path: Path | None) -> Path | None:
    if path is not None and not path.exists():
        raise CommandError(f"There is no {path}; --env takes a file such as .env.example shows.")
    if path is not None and path.is_dir():
        raise CommandError(f"{path} is a directory; --env takes a file such as .env.example shows.")
    return path


@contextlib.contextmanager
def api_errors() -> Iterator[None]:
    """Turn what the settings and the API refuse into a CommandError; their messages are written for people."""
    from memory_demo.demo_helpers import ConversationError
    from memory_demo.settings import SettingsError

    try:
        yield
    except (ConversationError, SettingsError) as error:
        raise CommandError(str(error)) from error


def memory_handler(arguments: argparse.Namespace) -> MemoryToolHandler:
    return guarded_memory(store=arguments.memory.store(), proposal=arguments.propose)


def _say_turn(turn: Turn, out: TextIO) -> None:
    for line in story(turn):
        say(line, out)


class OutputError(CommandError):
    """What there is to say cannot be written; the streams are of no use any more."""


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """For what writes to stdout and does nothing else. Raises OutputError, and BrokenPipeError for a reader that left."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"stdout cannot be used: {error.strerror or error}.") from error


def say(text: str, out: TextIO | None = None) -> None:
    with writing():
        print(printable(text), file=out or sys.stdout, flush=True)
