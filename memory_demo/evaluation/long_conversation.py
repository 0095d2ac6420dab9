"""One long review of real code: what context editing saves, and what it leaves to the prompt cache."""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from memory_demo.assistant import CodeReviewAssistant, guarded_memory
from memory_demo.demo_helpers import ConversationError, Turn
from memory_demo.evaluation.matching import read_labels
from memory_demo.evaluation.records import SAMPLES, SYMPTOMS, answered_by_stand_in
from memory_demo.memory_view import read_notes
from memory_demo.review_report import Review
from memory_demo.settings import Connection

PUBLISHED_SAVING = 0.84
PUBLISHED_SOURCE = "https://claude.com/blog/context-management"
SIZES = (10, 30, 100)
CLEAR_AT_LEAST = (50_000, 200_000)
TRIGGER = 50_000
KEEP = 3

_FILE_BYTES = range(10_000, 25_001)
_NOT_CODE_TO_REVIEW = {
    "dist-packages",
    "encodings",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}


@dataclass(frozen=True)
class FileReview:
    """One file of a long review. `memory_intact`: every line that the lesson at the start left in memory is still there."""

    review: Review
    memory_intact: bool


@dataclass(frozen=True)
class LongReview:
    """One conversation: a lesson, then one request a file. `stopped` says why it ended early, "" if it did not."""

    name: str
    model: str
    stand_in: bool
    context_management: Mapping[str, Any] | None
    lesson: Review | None
    records: tuple[FileReview, ...]
    stopped: str = ""

    def turns(self, files: int | None = None) -> tuple[Turn, ...]:
        """The API requests up to and with that many files, the lesson's among them."""
        reviews = [
            *([self.lesson] if self.lesson else []),
            *(record.review for record in self.records[:files]),
        ]
        return tuple(turn for review in reviews for turn in review.turns)


@dataclass(frozen=True)
class SizeSummary:
    """A long review up to a number of files: tokens of all API requests, and the largest of them."""

    files: int
    requests: int
    input_tokens: int
    peak: int
    seconds: float
    reviewed: int
    findings: int
    memory_intact: bool


def standard_library_files(count: int) -> dict[str, Path]:
    """The first modules of the standard library by name that are 10 to 25 KB of UTF-8 text; fewer if there are fewer."""
    root = Path(sysconfig.get_path("stdlib"))
    files: dict[str, Path] = {}
    for path in sorted(root.rglob("*.py")):
        if len(files) == count:
            break
        relative = path.relative_to(root)
        if not _NOT_CODE_TO_REVIEW.intersection(relative.parts) and _is_readable(path):
            files[relative.as_posix()] = path
    return files


def clearing_settings(clear_at_least: int | None = None) -> dict[str, Any]:
    """`context_management` for a long review: memory is never cleared, the last results of other tools are kept."""
    edit: dict[str, Any] = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "input_tokens", "value": TRIGGER},
        "keep": {"type": "tool_uses", "value": KEEP},
        "exclude_tools": ["memory"],
    }
    if clear_at_least is not None:
        edit["clear_at_least"] = {"type": "input_tokens", "value": clear_at_least}
    return {"edits": [edit]}


def long_review(
    connection: Connection,
    files: Mapping[str, Path],
    clearing: bool,
    *,
    clear_at_least: int | None = None,
    progress: bool = False,
) -> LongReview:
    """Review files one by one in one conversation, after a lesson that has put something into memory.

    It is the shipped assistant, without the budget that has it start a new conversation. Its first request differs from
    run to run, which keeps one run from reading what another has cached.

    A run that the API or Ctrl-C ends early returns what it has, with the reason in `stopped`.
    """
    file_to_learn = read_labels()[0][0].learn
    name = _name(clearing, clear_at_least)
    context_management = clearing_settings(clear_at_least) if clearing else None
    lesson, records, stopped = None, [], ""
    with tempfile.TemporaryDirectory() as folder:
        memory = guarded_memory(folder)
        assistant = CodeReviewAssistant(
            client=connection.client,
            model=connection.model,
            memory_handler=memory,
            context_management=context_management,
            conversation_budget=None,
        )
        try:
            symptom = f"{SYMPTOMS[file_to_learn]} (Session: {name}.)"
            lesson = assistant.review_file(SAMPLES / file_to_learn, symptom, name=file_to_learn)
            learnt = read_notes(memory.store)
            for file, path in track(files.items(), name, console=Console(stderr=True), disable=not progress):
                review = assistant.review_file(path, name=file)
                records.append(FileReview(review, _holds(read_notes(memory.store), learnt)))
        except ConversationError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            stopped = "Interrupted."
    return LongReview(
        name=name,
        model=connection.model,
        stand_in=answered_by_stand_in(connection),
        context_management=context_management,
        lesson=lesson,
        records=tuple(records),
        stopped=stopped,
    )


def long_reviews(
    connection: Connection, files: Mapping[str, Path], *, progress: bool = False
) -> list[LongReview]:
    """The review without clearing, with it, and with each of CLEAR_AT_LEAST; ends with the first that was stopped."""
    runs: list[LongReview] = []
    for clearing, clear_at_least in (
        (False, None),
        (True, None),
        *((True, least) for least in CLEAR_AT_LEAST),
    ):
        run = long_review(connection, files, clearing, clear_at_least=clear_at_least, progress=progress)
        runs.append(run)
        if run.stopped:
            break
    return runs


def summarise_size(run: LongReview, files: int) -> SizeSummary:
    """A long review as it stood after that many files.

    The conversation is append-only and takes one file after the other, so the start of a long one is a shorter one.
    """
    turns, records = run.turns(files), run.records[:files]
    return SizeSummary(
        files=len(records),
        requests=len(turns),
        input_tokens=sum(turn.input_tokens for turn in turns),
        peak=max((turn.input_tokens for turn in turns), default=0),
        seconds=sum(turn.seconds for turn in turns),
        reviewed=sum(not record.review.problem for record in records),
        findings=sum(len(record.review.findings) for record in records),
        memory_intact=bool(records) and all(record.memory_intact for record in records),
    )


def sizes_up_to(files: int) -> list[int]:
    """The sizes to report on: those of SIZES that there are files for, and the number of files itself."""
    return sorted({*(size for size in SIZES if size <= files), files})


def cumulative_input(turns: Sequence[Turn]) -> list[int]:
    """Input tokens up to and with each request."""
    return list(accumulate(turn.input_tokens for turn in turns))


def _name(clearing: bool, clear_at_least: int | None) -> str:
    if not clearing:
        return "without clearing"
    return "clearing" if clear_at_least is None else f"clearing at least {clear_at_least:,}"


def _holds(notes: Mapping[str, str], learnt: Mapping[str, str]) -> bool:
    return bool(learnt) and all(
        set(text.splitlines()) <= set(notes.get(path, "").splitlines()) for path, text in learnt.items()
    )


def _is_readable(path: Path) -> bool:
    try:
        return path.stat().st_size in _FILE_BYTES and path.read_text(encoding="utf-8") != ""
    except (OSError, UnicodeDecodeError):
        return False
