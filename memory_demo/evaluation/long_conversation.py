"""One long review of real code: what context editing saves, and what it leaves to the prompt cache."""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from tqdm import tqdm

from memory_demo.demo_helpers import ConversationError
from memory_demo.evaluation.conversation import (
    SAMPLES,
    SYSTEM,
    Answer,
    TurnRecord,
    answered_by_stand_in,
    ask,
    learn_request,
    review_request,
)
from memory_demo.evaluation.matching import read_labels
from memory_demo.memory_view import read_notes
from memory_demo.settings import Connection
from memory_demo.source_tools import ReportedFinding, read_source_tool, report_finding_tool
from memory_tool import MemoryToolHandler

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
    """One file of a long review.

    `reviewed`: its source was read without an error and the request came to its end. `memory_intact`: every line that
    the lesson at the start left in memory is still there.
    """

    file: str
    answer: Answer
    findings: tuple[ReportedFinding, ...]
    reviewed: bool
    memory_intact: bool


@dataclass(frozen=True)
class LongReview:
    """One conversation: a lesson, then one request a file. `stopped` says why it ended early, "" if it did not."""

    name: str
    model: str
    stand_in: bool
    context_management: Mapping[str, Any] | None
    lesson: Answer | None
    records: tuple[FileReview, ...]
    stopped: str = ""

    def turns(self, files: int | None = None) -> tuple[TurnRecord, ...]:
        """The API requests up to and with that many files, the lesson's among them."""
        answers = [*([self.lesson] if self.lesson else []), *(r.answer for r in self.records[:files])]
        return tuple(turn for answer in answers for turn in answer.turns)


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

    The prompt is cached (top-level `cache_control`), which changes what tokens cost and not how many there are. A line
    in the system prompt that differs from run to run keeps one run from reading what another has cached.

    A run that the API or Ctrl-C ends early returns what it has, with the reason in `stopped`.
    """
    pair = read_labels()[0][0]
    name = _name(clearing, clear_at_least)
    context_management = clearing_settings(clear_at_least) if clearing else None
    found: list[ReportedFinding] = []
    tools = [read_source_tool({pair.learn: SAMPLES / pair.learn, **files}), report_finding_tool(found)]
    lesson, records, stopped = None, [], ""
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryToolHandler(folder)
        request = partial(
            ask,
            connection,
            [],
            memory=memory,
            tools=tools,
            system=f"{SYSTEM}\n\nThis session: {name}.",
            context_management=context_management,
            cache_control={"type": "ephemeral"},
        )
        try:
            lesson = request(learn_request(pair.category, pair.learn))
            learnt = read_notes(memory.store)
            for file in tqdm(files, desc=name, disable=not progress):
                before = len(found)
                answer = request(review_request(file))
                intact = _holds(read_notes(memory.store), learnt)
                reviewed = _was_reviewed(file, answer)
                records.append(FileReview(file, answer, tuple(found[before:]), reviewed, intact))
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
        reviewed=sum(record.reviewed for record in records),
        findings=sum(len(record.findings) for record in records),
        memory_intact=bool(records) and all(record.memory_intact for record in records),
    )


def sizes_up_to(files: int) -> list[int]:
    """The sizes to report on: those of SIZES that there are files for, and the number of files itself."""
    return sorted({*(size for size in SIZES if size <= files), files})


def cumulative_input(turns: Sequence[TurnRecord]) -> list[int]:
    """Input tokens up to and with each request."""
    return list(accumulate(turn.input_tokens for turn in turns))


def _name(clearing: bool, clear_at_least: int | None) -> str:
    if not clearing:
        return "without clearing"
    return "clearing" if clear_at_least is None else f"clearing at least {clear_at_least:,}"


def _was_reviewed(file: str, answer: Answer) -> bool:
    calls = (call for turn in answer.turns for call in turn.tool_calls)
    read = any(
        (call.name, call.input.get("path"), call.is_error) == ("read_source", file, False) for call in calls
    )
    return read and answer.stop_reason == "end_turn"


def _holds(notes: Mapping[str, str], learnt: Mapping[str, str]) -> bool:
    return bool(learnt) and all(
        set(text.splitlines()) <= set(notes.get(path, "").splitlines()) for path, text in learnt.items()
    )


def _is_readable(path: Path) -> bool:
    try:
        return path.stat().st_size in _FILE_BYTES and path.read_text(encoding="utf-8") != ""
    except (OSError, UnicodeDecodeError):
        return False
