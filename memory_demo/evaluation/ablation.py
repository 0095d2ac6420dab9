"""Does what a note says matter: the same reviews with a lesson, without it, and with parts of it taken away or changed."""

from __future__ import annotations

import hashlib
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from memory_demo.assistant import CodeReviewAssistant, guarded_memory
from memory_demo.demo_helpers import ConversationError, Turn
from memory_demo.evaluation.matching import (
    LABELS,
    LABELS_OF_SHOP,
    LINE_SLACK,
    Label,
    Pair,
    match,
    read_labels,
)
from memory_demo.evaluation.records import SAMPLES, SHOP, SYMPTOMS, answered_by_stand_in, files_read
from memory_demo.memory_view import read_notes
from memory_demo.review_report import Review
from memory_demo.reviewer.checks.offers import LOCKS, UNLOCKED
from memory_demo.reviewer.notes import file_line
from memory_demo.settings import Connection
from memory_demo.source_tools import ReportedFinding, python_files
from memory_tool import MemoryToolHandler

Notes = Mapping[str, str]
"""Texts by path."""

_ONE_WORD = {"race-condition": "race", "sql-injection": "injection", "shared-mutable-state": "aliasing"}
_LEFT_OUT = {"race-condition": "check-then-act", "sql-injection": "join", "shared-mutable-state": "default"}
_HOUSE_RULE = "# House rules\n\n- Money is never a float here: whole cents or Decimal.\n"


class Lesson(NamedTuple):
    """What a learning session left in memory, and the session."""

    pair: Pair
    folder: Path
    notes: Notes
    review: Review


@dataclass(frozen=True)
class Row:
    """One row of the table: what memory holds, made from the lesson that fits and another one, and what that proves."""

    name: str
    proves: str
    notes: Callable[[Lesson, Lesson], Notes]


@dataclass(frozen=True)
class Trial:
    """One review, of a file with labelled bugs or of one without any: there, every finding is a false alarm."""

    repeat: int
    row: str
    file: str
    has_bugs: bool
    review: Review
    found: tuple[Label, ...]
    missed: tuple[Label, ...]
    unmatched: tuple[ReportedFinding, ...]


@dataclass(frozen=True)
class AblationResult:
    """Every conversation of the experiment. `stopped` says why it ended early, "" if it did not."""

    model: str
    stand_in: bool
    repeats: int
    lessons: tuple[Lesson, ...]
    trials: tuple[Trial, ...]
    stopped: str = ""

    @property
    def turns(self) -> tuple[Turn, ...]:
        reviews = [*(lesson.review for lesson in self.lessons), *(trial.review for trial in self.trials)]
        return tuple(turn for review in reviews for turn in review.turns)


class Measured(NamedTuple):
    """A mean over the repeats, and the least and the most of them."""

    mean: float
    least: float
    most: float


@dataclass(frozen=True)
class RowSummary:
    """One row, for all files together: sums of one repeat, over the repeats that reviewed all of them."""

    row: Row
    repeats: int
    found: Measured
    missed: Measured
    false_alarms: Measured
    files_read: Measured
    requests: Measured
    input_tokens: Measured


def _title_only(lesson: Lesson, _: Lesson) -> Notes:
    return {path: f"{text.splitlines()[0]}\n" for path, text in lesson.notes.items()}


def _less_a_line(lesson: Lesson, _: Lesson) -> Notes:
    word = _LEFT_OUT[lesson.pair.category]
    return {path: _without(text, word) for path, text in lesson.notes.items()}


def _without(text: str, word: str) -> str:
    return "".join(
        line for line in text.splitlines(keepends=True) if word not in line.lower() or line.startswith("#")
    )


def _without_facts(lesson: Lesson, _: Lesson) -> Notes:
    """The notes less every line with a SHA-256."""
    lines = {path: text.splitlines(keepends=True) for path, text in lesson.notes.items()}
    return {
        path: "".join(x for x in kept if not re.search("[0-9a-f]{64}", x)) for path, kept in lines.items()
    }


def _ledger(add: str, spend: str) -> Callable[[Lesson, Lesson], Notes]:
    """The notes with these two facts about the shop's ledger instead of what they say of it."""
    sha256 = hashlib.sha256((SHOP / "ledger.py").read_bytes()).hexdigest()
    line = file_line("ledger.py", sha256, {"Ledger.add": add, "Ledger.spend": spend})

    def notes(lesson: Lesson, _: Lesson) -> Notes:
        if lesson.folder != SHOP:
            return lesson.notes
        others = {path: _without(text, "ledger.py") for path, text in lesson.notes.items()}
        return {**others, "/memories/ledger.md": f"# The ledger\n\n{line}"}

    return notes


ROWS = (
    Row("the lesson", "what one review wrote is enough for the next", lambda lesson, _: lesson.notes),
    Row("nothing", "without a note, nothing is looked for: the finding comes from memory", lambda *_: {}),
    Row("another lesson", "a note on other things does not help: it is what the note says", lambda _, other: other.notes),
    Row("the title alone", "a heading says nothing of how to recognise a bug", _title_only),
    Row("one word", "nor does a word", lambda lesson, _: {"/memories/note.md": f"{_ONE_WORD[lesson.pair.category]}\n"}),
    Row("the lesson less one line", "each line switches on one check, and that one is missing now", _less_a_line),
    Row("the lesson less what files offer", "files must be read again, and the findings are the same", _without_facts),
    Row("a house rule added", "a fact that no code shows adds a check", lambda lesson, _: {**lesson.notes, "/memories/house.md": _HOUSE_RULE}),
    Row("one fact wrong", "a wrong note on an unchanged file costs a false alarm", _ledger(add=UNLOCKED, spend=UNLOCKED)),
    Row("that fact corrected", "and its correction takes the alarm away", _ledger(add=LOCKS, spend=UNLOCKED)),
    Row("one fact contradicted", "a note excuses nothing that the file does not show: no note silences", _ledger(add=LOCKS, spend=LOCKS)),
)  # fmt: skip


def compare_notes(
    connection: Connection, *, repeats: int = 1, rows: Sequence[Row] = ROWS, progress: bool = False
) -> AblationResult:
    """Learn from one file of each kind, then review the other files and their twins with each row's notes in memory.

    Every session is a conversation of its own with the shipped assistant, and every review has a memory of its own, so
    that no review learns from another. `progress` shows a bar on stderr.

    A run that the API or Ctrl-C ends early returns what it has, with the reason in `stopped`.
    """
    lessons: list[Lesson] = []
    trials: list[Trial] = []
    stopped = ""
    pairs = _pairs()
    total = repeats * (len(pairs) + len(rows) * _files_of_a_row())
    with Progress(console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("", total=total)
        try:
            for repeat in range(1, repeats + 1):
                learnt = []
                for pair, folder in pairs:
                    bar.update(task, description=f"learning from {pair.learn}")
                    learnt.append(_learn(connection, pair, folder))
                    lessons.append(learnt[-1])
                    bar.advance(task)
                for row in rows:
                    bar.update(task, description=row.name)
                    for trial in _review_all(connection, row, learnt, repeat):
                        trials.append(trial)
                        bar.advance(task)
        except ConversationError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            stopped = "Interrupted."
    stand_in = answered_by_stand_in(connection)
    return AblationResult(connection.model, stand_in, repeats, tuple(lessons), tuple(trials), stopped)


def summarise(result: AblationResult, rows: Sequence[Row] = ROWS) -> list[RowSummary]:
    """One summary a row that at least one repeat completed."""
    by_row = {row: whole_repeats(result, row.name) for row in rows}
    return [_summary(row, repeats) for row, repeats in by_row.items() if repeats]


def whole_repeats(result: AblationResult, row: str) -> list[list[Trial]]:
    """The trials of a row by repeat, less a repeat that ended before all files were reviewed."""
    by_repeat: dict[int, list[Trial]] = {}
    for trial in result.trials:
        if trial.row == row:
            by_repeat.setdefault(trial.repeat, []).append(trial)
    return [trials for trials in by_repeat.values() if len(trials) == _files_of_a_row()]


def labels_of(result: AblationResult) -> int:
    """How many labelled bugs there are in the files that were reviewed."""
    return len({label for trial in result.trials for label in (*trial.found, *trial.missed)})


def _pairs() -> list[tuple[Pair, Path]]:
    """What to learn from and what to review then, and the folder with both."""
    return [(pair, SAMPLES) for pair in read_labels()[0]] + [
        (pair, SHOP) for pair in read_labels(LABELS_OF_SHOP)[0]
    ]


def _files_of_a_row() -> int:
    return sum(len(list(_targets(pair, folder))) for pair, folder in _pairs())


def _targets(pair: Pair, folder: Path) -> Iterator[tuple[Path, bool]]:
    """The files to review, and whether they have bugs; a file without labels has none, and needs no twin."""
    with_bugs = {label.file for label in _labels(folder)}
    for file in pair.apply:
        yield folder / file, file in with_bugs
        if file in with_bugs:
            yield folder / "fixed" / file, False


def _labels(folder: Path) -> Sequence[Label]:
    return read_labels(LABELS_OF_SHOP if folder == SHOP else LABELS)[1]


def _learn(connection: Connection, pair: Pair, folder: Path) -> Lesson:
    with tempfile.TemporaryDirectory() as memory:
        handler = guarded_memory(memory)
        review = _session(connection, handler, folder / pair.learn, folder, SYMPTOMS[pair.learn])
        return Lesson(pair, folder, read_notes(handler.store), review)


def _review_all(connection: Connection, row: Row, learnt: Sequence[Lesson], repeat: int) -> Iterator[Trial]:
    """Each pair's files, with its own lesson; another one is the next that none of the bugs in these files is about."""
    for number, lesson in enumerate(learnt):
        labels = [label for label in _labels(lesson.folder) if label.file in lesson.pair.apply]
        others = [*learnt[number + 1 :], *learnt[:number]]
        other = next(one for one in others if one.pair.category not in {label.category for label in labels})
        for path, has_bugs in _targets(lesson.pair, lesson.folder):
            with tempfile.TemporaryDirectory() as memory:
                handler = guarded_memory(memory)
                _store(handler, row.notes(lesson, other))
                review = _session(connection, handler, path, lesson.folder)
            yield _trial(repeat, row, path, has_bugs, lesson.folder, review)


def _store(handler: MemoryToolHandler, notes: Notes) -> None:
    for name, text in notes.items():
        if text:
            answer = handler.execute(command="create", path=name, file_text=text)
            assert "success" in answer, answer


def _session(
    connection: Connection, handler: MemoryToolHandler, path: Path, folder: Path, symptom: str = ""
) -> Review:
    assistant = CodeReviewAssistant(client=connection.client, model=connection.model, memory_handler=handler)
    for name, other in python_files(folder).items() if folder == SHOP else ():
        assistant.offer(other, name)
    return assistant.review_file(path, symptom, name=path.name)


def _trial(repeat: int, row: Row, path: Path, has_bugs: bool, folder: Path, review: Review) -> Trial:
    expected = [label for label in _labels(folder) if has_bugs and label.file == path.name]
    matched = match(review.findings, expected, LINE_SLACK)
    return Trial(repeat, row.name, path.name, has_bugs, review, *matched)


def _summary(row: Row, repeats: Sequence[Sequence[Trial]]) -> RowSummary:
    def measured(count: Callable[[Trial], int]) -> Measured:
        sums = [sum(map(count, trials)) for trials in repeats]
        return Measured(statistics.fmean(sums), min(sums), max(sums))

    return RowSummary(
        row=row,
        repeats=len(repeats),
        found=measured(lambda trial: len(trial.found)),
        missed=measured(lambda trial: len(trial.missed)),
        false_alarms=measured(lambda trial: len(trial.unmatched)),
        files_read=measured(lambda trial: files_read(trial.review)),
        requests=measured(lambda trial: trial.review.cost.requests),
        input_tokens=measured(lambda trial: trial.review.cost.input_tokens),
    )
