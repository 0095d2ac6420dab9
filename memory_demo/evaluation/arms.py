"""Does memory help: the same reviews with memory, with an empty one, and with notes about something else."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap
from tqdm import tqdm

from memory_demo.demo_helpers import ConversationError, MemoryHandler
from memory_demo.evaluation.conversation import (
    SAMPLES,
    Answer,
    TurnRecord,
    answered_by_stand_in,
    ask,
    learn_request,
    review_request,
)
from memory_demo.evaluation.matching import Label, Pair, match, read_labels
from memory_demo.memory_view import read_notes
from memory_demo.settings import Connection
from memory_demo.source_tools import ReportedFinding, read_source_tool, report_finding_tool
from memory_stores import FileStore
from memory_tool import MemoryToolHandler

WITH_MEMORY, EMPTY_MEMORY, UNRELATED_MEMORY = "with memory", "empty memory", "unrelated memory"
ARMS = (WITH_MEMORY, EMPTY_MEMORY, UNRELATED_MEMORY)

# The text that read_source gives has no line numbers, so a model has to count.
LINE_SLACK = 2
_SEED = 20_261_007
_RESAMPLES = 10_000

NewMemory = Callable[[Path], MemoryHandler]


@dataclass(frozen=True)
class Lesson:
    """A learning session: what was found in the file, and the notes that it left, by path."""

    repeat: int
    category: str
    file: str
    answer: Answer
    findings: tuple[ReportedFinding, ...]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Review:
    """A review in a new conversation, of a file with labelled bugs or of its fixed twin.

    `learnt_from` is the file whose lesson is in memory, "" for an empty one. For a twin every finding is a false
    alarm: `found` and `missed` are empty and all findings are in `unmatched`.
    """

    repeat: int
    arm: str
    category: str
    file: str
    fixed: bool
    learnt_from: str
    answer: Answer
    findings: tuple[ReportedFinding, ...]
    found: tuple[Label, ...]
    missed: tuple[Label, ...]
    unmatched: tuple[ReportedFinding, ...]


@dataclass(frozen=True)
class ArmsResult:
    """Every conversation of the experiment. `stopped` says why it ended early, "" if it did not."""

    model: str
    stand_in: bool
    repeats: int
    line_slack: int
    lessons: tuple[Lesson, ...]
    reviews: tuple[Review, ...]
    stopped: str = ""

    @property
    def turns(self) -> tuple[TurnRecord, ...]:
        answers = [*(lesson.answer for lesson in self.lessons), *(review.answer for review in self.reviews)]
        return tuple(turn for answer in answers for turn in answer.turns)


class Estimate(NamedTuple):
    """A mean over repeats with its 95 % bootstrap interval, None where there is one repeat only."""

    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class ArmSummary:
    """One arm. All but `arm` and `labels` are per repeat, targets and twins together where both have them."""

    arm: str
    labels: int
    found: Estimate
    missed: Estimate
    unlabelled: Estimate
    false_alarms: Estimate
    turns: Estimate
    input_tokens: Estimate
    output_tokens: Estimate
    seconds: Estimate


def compare_arms(
    connection: Connection,
    *,
    repeats: int = 1,
    line_slack: int = LINE_SLACK,
    new_memory: NewMemory = MemoryToolHandler,
    progress: bool = False,
) -> ArmsResult:
    """Learn each category from one file, then review the other files and their twins in each arm.

    The unrelated memory is the lesson of the next category: the same reviewer wrote it in the same way, so what it has
    less than the right one is the topic, not notes as such. Every review has a copy of the lesson's memory, so that no
    review learns from another. `new_memory` makes the handler of a memory directory. `progress` shows a bar on stderr.

    A run that the API or Ctrl-C ends early returns what it has, with the reason in `stopped`.
    """
    pairs, labels = read_labels()
    lessons: list[Lesson] = []
    reviews: list[Review] = []
    stopped = ""
    per_repeat = len(pairs) + sum(len(pair.apply) for pair in pairs) * len(ARMS) * 2
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=repeats * per_repeat, disable=not progress) as bar,
    ):
        try:
            for repeat in range(1, repeats + 1):
                bench = _Bench(connection, Path(folder) / str(repeat), new_memory, repeat, line_slack)
                for part in _one_repeat(bench, pairs, labels, bar.set_description):
                    lessons.append(part) if isinstance(part, Lesson) else reviews.append(part)
                    bar.update()
        except ConversationError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            stopped = "Interrupted."
    return ArmsResult(
        model=connection.model,
        stand_in=answered_by_stand_in(connection),
        repeats=repeats,
        line_slack=line_slack,
        lessons=tuple(lessons),
        reviews=tuple(reviews),
        stopped=stopped,
    )


def summarise(result: ArmsResult) -> list[ArmSummary]:
    """One summary an arm, in the order of ARMS."""
    return [_summary(arm, [r for r in result.reviews if r.arm == arm]) for arm in ARMS]


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and percentile bootstrap interval of one value a repeat; the seed is fixed."""
    if not values:
        return Estimate(0.0, None)
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, None)
    resampled = bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return Estimate(
        mean, (float(resampled.confidence_interval.low), float(resampled.confidence_interval.high))
    )


class _Bench(NamedTuple):
    connection: Connection
    folder: Path
    new_memory: NewMemory
    repeat: int
    line_slack: int


def _one_repeat(
    bench: _Bench, pairs: Sequence[Pair], labels: Sequence[Label], announce: Callable[[str], object]
) -> Iterator[Lesson | Review]:
    lesson_of = {}
    for pair in pairs:
        announce(f"learning from {pair.learn}")
        lesson_of[pair.category] = _learn(bench, pair)
        yield lesson_of[pair.category]
    for pair, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True):
        learnt = {
            WITH_MEMORY: lesson_of[pair.category],
            EMPTY_MEMORY: None,
            UNRELATED_MEMORY: lesson_of[other.category],
        }
        for file in pair.apply:
            expected = [label for label in labels if label.file == file and label.category == pair.category]
            for arm in ARMS:
                announce(f"{file} {arm}")
                yield _review(bench, pair.category, file, arm, learnt[arm], expected)
                yield _review(bench, pair.category, file, arm, learnt[arm], None)


def _learn(bench: _Bench, pair: Pair) -> Lesson:
    folder = _lesson_folder(bench, pair.learn)
    path = SAMPLES / pair.learn
    answer, findings = _converse(bench, folder, path, learn_request(pair.category, pair.learn))
    return Lesson(bench.repeat, pair.category, pair.learn, answer, findings, read_notes(FileStore(folder)))


def _review(
    bench: _Bench, category: str, file: str, arm: str, lesson: Lesson | None, expected: Sequence[Label] | None
) -> Review:
    """Review a file, or its fixed twin under the same name if there are no labels to expect."""
    fixed = expected is None
    path = (SAMPLES / "fixed" if fixed else SAMPLES) / file
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        if lesson is not None:
            source = _lesson_folder(bench, lesson.file)
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        answer, findings = _converse(bench, Path(folder), path, review_request(file))
    matched = match(findings, expected or (), bench.line_slack)
    return Review(
        repeat=bench.repeat,
        arm=arm,
        category=category,
        file=file,
        fixed=fixed,
        learnt_from=lesson.file if lesson else "",
        answer=answer,
        findings=findings,
        found=matched.found,
        missed=matched.missed,
        unmatched=matched.unmatched,
    )


def _converse(
    bench: _Bench, folder: Path, path: Path, request: str
) -> tuple[Answer, tuple[ReportedFinding, ...]]:
    found: list[ReportedFinding] = []
    tools = [read_source_tool({path.name: path}), report_finding_tool(found)]
    answer = ask(bench.connection, [], request, bench.new_memory(folder), tools)
    return answer, tuple(found)


def _lesson_folder(bench: _Bench, file: str) -> Path:
    folder = bench.folder / f"learnt-from-{file}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _summary(arm: str, reviews: Sequence[Review]) -> ArmSummary:
    by_repeat = [[r for r in reviews if r.repeat == repeat] for repeat in sorted({r.repeat for r in reviews})]

    def per_repeat(count: Callable[[Review], float]) -> Estimate:
        return estimate([sum(map(count, group)) for group in by_repeat])

    def of_turns(value: Callable[[TurnRecord], float]) -> Estimate:
        return per_repeat(lambda review: sum(map(value, review.answer.turns)))

    labels = {label for review in reviews for label in (*review.found, *review.missed)}
    return ArmSummary(
        arm=arm,
        labels=len(labels),
        found=per_repeat(lambda review: len(review.found)),
        missed=per_repeat(lambda review: len(review.missed)),
        unlabelled=per_repeat(lambda review: 0 if review.fixed else len(review.unmatched)),
        false_alarms=per_repeat(lambda review: len(review.unmatched) if review.fixed else 0),
        turns=per_repeat(lambda review: len(review.answer.turns)),
        input_tokens=of_turns(lambda turn: turn.input_tokens),
        output_tokens=of_turns(lambda turn: turn.output_tokens),
        seconds=of_turns(lambda turn: turn.seconds),
    )
