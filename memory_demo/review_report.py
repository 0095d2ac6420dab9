"""What a review found and what it cost: plain data, and JSON for tools."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from memory_demo.demo_helpers import Turn
    from memory_demo.review_targets import NotReviewed, Target
    from memory_demo.source_tools import ReportedFinding

# Where GitHub's runner begins to read a command: "::error::" at the start of a line, "##[error]" anywhere in it
# (actions/runner, ActionCommand.cs). It compares as its culture does, which passes over some marks that are not ASCII.
_WORKFLOW_COMMANDS = (
    re.compile(r"#(?=[^\x00-\x7f]*#[^\x00-\x7f]*\[)"),
    re.compile(r"^[^\w\n]*?(?=:[^\x00-\x7f]*:)", re.MULTILINE),
)


class Cost(NamedTuple):
    """Tokens of a number of requests, counted after context editing.

    `cleared_tool_uses` is that of the request where most were cleared, `cleared_input_tokens` the sum over requests;
    `cleared_in` numbers, from 1, the requests where anything was.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    cleared_tool_uses: int
    cleared_input_tokens: int
    cleared_in: tuple[int, ...]

    def __str__(self) -> str:
        spent = (
            f"{counted(self.requests, 'request')}, {self.input_tokens:,} input tokens, "
            f"{self.output_tokens:,} output tokens"
        )
        if not self.cleared_in:
            return f"{spent}; context editing cleared nothing."
        first, last = self.cleared_in[0], self.cleared_in[-1]
        where = f"from request {first} to {last}" if last > first else f"in request {first}"
        return (
            f"{spent}; context editing kept {self.cleared_input_tokens:,} input tokens out, {where}, "
            f"with up to {counted(self.cleared_tool_uses, 'tool result')} cleared."
        )


@dataclass(frozen=True)
class Review(Mapping[str, Any]):
    """One review: the answer, the bugs it reported, the turns it took.

    `problem` says what makes it incomplete, or is "".
    As a mapping it is plain data: `review`, `input_tokens` and `output_tokens` of all its requests, `context_edits` as
    the API reported them, `file`, `findings`, `problem`.
    """

    file: str
    text: str
    findings: tuple[ReportedFinding, ...]
    turns: tuple[Turn, ...]
    problem: str = ""

    def __getitem__(self, key: str) -> Any:
        return self._plain()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain())

    def __len__(self) -> int:
        return len(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {
            "review": self.text,
            "input_tokens": self.cost.input_tokens,
            "output_tokens": self.cost.output_tokens,
            "context_edits": [edit for turn in self.turns for edit in turn.applied_edits],
            "file": self.file,
            "findings": [asdict(finding) for finding in self.findings],
            "problem": self.problem,
        }

    @property
    def cost(self) -> Cost:
        """What this review cost."""
        return cost_of(self.turns)


@dataclass(frozen=True)
class Finding:
    """A bug where it is in a file; lines and the column count from 1, the column in characters.

    `note` is the memory file that led to it, as the reviewer says, or "".
    """

    file: str
    line: int
    column: int
    end_line: int
    category: str
    cause: str
    fix: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that a `review` command has to say, whatever the format.

    `existing` are the findings that the base has too. `targets` are the files that were reviewed, by their names.
    """

    reviewer: str
    offline: bool
    base: str | None
    targets: Mapping[str, Target]
    reviews: tuple[Review, ...]
    findings: tuple[Finding, ...]
    existing: tuple[Finding, ...] = ()
    not_reviewed: tuple[NotReviewed, ...] = ()
    excluded: tuple[str, ...] = ()

    def path(self, file: str) -> str:
        """The path of a file for tools: from the top of the repository, where there is one."""
        target = self.targets.get(file)
        return file if target is None else target.path


def cost_of(turns: Sequence[Turn]) -> Cost:
    """What these turns cost together."""
    return Cost(
        requests=len(turns),
        input_tokens=sum(turn.input_tokens for turn in turns),
        output_tokens=sum(turn.output_tokens for turn in turns),
        cleared_tool_uses=max((turn.cleared_tool_uses for turn in turns), default=0),
        cleared_input_tokens=sum(turn.cleared_input_tokens for turn in turns),
        cleared_in=tuple(number for number, turn in enumerate(turns, 1) if turn.cleared_input_tokens),
    )


def total_cost(reviews: Iterable[Review]) -> Cost:
    """What these reviews cost together."""
    return cost_of([turn for review in reviews for turn in review.turns])


def as_document(report: Report) -> dict[str, Any]:
    """The JSON document of `review --format json`. Keys are only ever added to it."""
    return {
        "reviewer": report.reviewer,
        "offline": report.offline,
        "base": report.base,
        "findings": [_as_json(finding) for finding in report.findings],
        "existing": [_as_json(finding) for finding in report.existing],
        "not_reviewed": [{"file": as_name(file.file), "reason": file.reason} for file in report.not_reviewed],
        "excluded": [as_name(name) for name in report.excluded],
        "files": [{"file": as_name(review.file), "review": review.text} for review in report.reviews],
        "cost": total_cost(report.reviews)._asdict(),
    }


def as_json(document: Mapping[str, Any]) -> str:
    """A document as JSON that a build may show: what GitHub's runner would take for a command is escaped in it."""
    return json.dumps(document, indent=2).replace("##[", "#\\u0023[")


def _as_json(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "file": as_name(finding.file)}


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def as_name(name: str) -> str:
    """A name on one line, with escapes for what a terminal or a log would not show as it is."""
    return "".join(c if c.isprintable() else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    # A byte of a name that is not UTF-8 comes from the system as a lone surrogate.
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(character)[1:-1]


def printable(text: str) -> str:
    """Text that can steer neither a terminal nor a build that reads it.

    Controls become U+FFFD; what GitHub's runner would take for a command gets a backslash.
    """
    shown = "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text)
    for command in _WORKFLOW_COMMANDS:
        shown = command.sub(r"\g<0>\\", shown)
    return shown
