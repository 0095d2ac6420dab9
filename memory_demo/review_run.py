"""Carries out a review: asks the reviewer about each file, and tells what a change brings in from what was there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memory_demo.git_change import difference
from memory_demo.introduced import found_before, untouched
from memory_demo.review_report import Finding, Report, Review
from memory_demo.review_targets import NotReviewed, Selection, Target

if TYPE_CHECKING:
    from memory_demo.assistant import CodeReviewAssistant
    from memory_demo.console import Reviewer
    from memory_demo.demo_helpers import ConversationError, Turn
    from memory_demo.source_tools import ReportedFinding

CHANGE = """\
A change is under review, and this file is part of it. `{diff}` is what the change does to the file; read it with \
read_source too. Report every bug that the change brings in, on the lines that it touches and on those that it does \
not: a lock that no longer covers what it protected, threads that now run older code, a value that now reaches an \
older query, an attribute that is no longer set. Report a bug that the file had before the change as existing."""
NEW_FILE = "A change is under review, and this file is new in it."


class Outcome(NamedTuple):
    """What came of a review, and what ended it before its time, if anything did."""

    report: Report
    stopped_by: ConversationError | KeyboardInterrupt | None


def carry_out(
    reviewer: Reviewer,
    selection: Selection,
    *,
    symptom: str,
    base: str | None,
    on_file: Callable[[Target], None],
) -> Outcome:
    """Review the files of a selection one after the other. `on_file` is told before each.

    A file whose review fails is among those not reviewed. The others go on, unless what failed is sure to fail again.
    What was found by then is kept in any case, also when a person interrupts.
    """
    from memory_demo.demo_helpers import ConversationError

    found: list[_Found] = []
    missed = list(selection.not_reviewed)
    stopped: ConversationError | KeyboardInterrupt | None = None
    with tempfile.TemporaryDirectory() as folder:
        desk = _Desk(reviewer, Path(folder), selection, symptom, base is not None)
        for target in selection.targets:
            if stopped is not None:
                missed.append(_missed(target, "was not reached"))
                continue
            on_file(target)
            try:
                found.append(desk.review(target))
            except KeyboardInterrupt as interrupt:
                stopped = interrupt
                missed.append(_missed(target, "was interrupted"))
            except ConversationError as error:
                stopped = error if _fails_again(error, reviewer) else None
                missed.append(_missed(target, f"could not be reviewed ({str(error).rstrip('.')})"))
            else:
                missed += _problem(target, found[-1].review)
    return Outcome(_report(reviewer, selection, base, found, missed), stopped)


class _Found(NamedTuple):
    """A review of one file, with its findings where they are, and those of them that the base has too."""

    review: Review
    findings: tuple[Finding, ...]
    existing: Sequence[Finding] = ()


class _Desk:
    """A reviewer at work on a selection, with a copy of what it may read, so that nothing changes under it."""

    def __init__(
        self, reviewer: Reviewer, folder: Path, selection: Selection, symptom: str, is_change: bool
    ) -> None:
        self._offline = reviewer.offline
        self._folder = folder
        self._symptom = symptom
        self._is_change = is_change
        self._texts = {target.name: target.text for target in selection.targets}
        self._assistant = self._with_sources(reviewer, selection, self._texts)
        # A conversation of its own, in which nothing is known of the change.
        before = {target.name: target.base for target in selection.targets if target.base is not None}
        self._base_assistant = self._with_sources(reviewer, selection, before)
        self._turns: list[Turn] = []

    def _with_sources(
        self, reviewer: Reviewer, selection: Selection, texts: Mapping[str, str]
    ) -> CodeReviewAssistant:
        """An assistant that may read these texts, and the other files of the repository."""
        assistant = reviewer.assistant()
        for name, path in {
            **selection.others,
            **{name: self._copy(text) for name, text in texts.items()},
        }.items():
            assistant.offer(path, name)
        return assistant

    def review(self, target: Target) -> _Found:
        request = self._symptom
        if self._is_change and not self._offline:
            request = f"{self._symptom}\n\n{self._about_change(target)}".strip()
        review = self._assistant.review_file(self._copy(target.text), request, name=target.name)
        self._turns += review.turns
        found = _located(review.findings, self._texts, self._turns)
        return self._without_existing(target, _Found(review, found))

    def _without_existing(self, target: Target, found: _Found) -> _Found:
        in_file = [finding for finding in found.findings if finding.file == target.name]
        if target.base is None or not in_file:
            return found
        if not self._offline:
            new = _located([f for f in found.review.findings if not f.existing], self._texts, self._turns)
            claimed = [finding for finding in in_file if finding not in new]
            return found._replace(existing=untouched(claimed, target.base, target.text))
        # After the branch, with all that memory has learnt by then: what it knew of the branch, it knows of the base.
        before = self._base_assistant.review_file(self._copy(target.base), self._symptom, name=target.name)
        at_base = _located(before.findings, {target.name: target.base}, before.turns)
        return found._replace(
            review=replace(found.review, turns=found.review.turns + before.turns),
            existing=found_before(in_file, at_base, target.base, target.text),
        )

    def _about_change(self, target: Target) -> str:
        if target.base is None:
            return NEW_FILE
        diff = self._copy(difference(target.base, target.text))
        return CHANGE.format(diff=self._assistant.offer(diff, f"{target.name}.diff"))

    def _copy(self, text: str) -> Path:
        path = self._folder / hashlib.sha256(text.encode()).hexdigest()
        path.write_bytes(text.encode())
        return path


def _located(
    findings: Sequence[ReportedFinding], texts: Mapping[str, str], turns: Sequence[Turn]
) -> tuple[Finding, ...]:
    """The findings where they are, each once."""
    read = frozenset(_notes_read(turns))
    return tuple(dict.fromkeys(_place(finding, texts.get(finding.file), read) for finding in findings))


def _place(reported: ReportedFinding, text: str | None, read: Collection[str]) -> Finding:
    """A finding where it is; a line that the file does not have becomes the nearest that it has."""
    lines = [] if text is None else text.removesuffix("\n").split("\n")
    first, last = max(reported.line, 1), max(reported.end_line, reported.line, 1)
    if lines:
        first, last = min(first, len(lines)), min(last, len(lines))
    code = lines[first - 1] if lines else ""
    return Finding(
        file=reported.file,
        line=first,
        column=len(code) - len(code.lstrip()) + 1,
        end_line=last,
        category=reported.category,
        cause=reported.cause,
        fix=reported.fix,
        note=reported.note if reported.note in read else "",
    )


def _notes_read(turns: Sequence[Turn]) -> Iterator[str]:
    for turn in turns:
        for call in turn.tool_calls:
            is_view = call.name == "memory" and call.input.get("command") == "view" and not call.is_error
            if is_view and not str(call.result).startswith("Here're the files"):
                yield str(call.input["path"])


def _fails_again(error: ConversationError, reviewer: Reviewer) -> bool:
    """Whether the next request is sure to fail as this one did: not where it was about the request itself."""
    import anthropic

    return not (reviewer.offline or isinstance(error.__cause__, anthropic.BadRequestError))


def _problem(target: Target, review: Review) -> list[NotReviewed]:
    return [_missed(target, f"was not reviewed whole ({review.problem})")] if review.problem else []


def _missed(target: Target, reason: str) -> NotReviewed:
    return NotReviewed(target.name, target.path, reason)


def _report(
    reviewer: Reviewer,
    selection: Selection,
    base: str | None,
    found: Sequence[_Found],
    missed: Sequence[NotReviewed],
) -> Report:
    return Report(
        reviewer=reviewer.name,
        offline=reviewer.offline,
        base=base,
        targets={target.name: target for target in selection.targets},
        reviews=tuple(each.review for each in found),
        findings=tuple(f for each in found for f in each.findings if f not in each.existing),
        existing=tuple(f for each in found for f in each.existing),
        not_reviewed=tuple(missed),
        excluded=selection.excluded,
    )
