"""What a review found and what it cost, as plain data, as text for people and as JSON for tools."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from memory_demo.demo_helpers import Turn
    from memory_demo.source_tools import ReportedFinding


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

    `problem` says what makes it incomplete, or is "". `left_out` is the number of findings that `touching` dropped.
    As a mapping it is plain data: `review`, `input_tokens` and `output_tokens` of all its requests, `context_edits` as
    the API reported them, `file`, `findings`, `problem`.
    """

    file: str
    text: str
    findings: tuple[ReportedFinding, ...]
    turns: tuple[Turn, ...]
    problem: str = ""
    left_out: int = 0

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

    def touching(self, lines: Collection[int]) -> Review:
        """This review with only the findings in its file that overlap these lines."""
        kept = tuple(
            finding
            for finding in self.findings
            if finding.file == self.file
            and any(finding.line <= line <= max(finding.line, finding.end_line) for line in lines)
        )
        return replace(self, findings=kept, left_out=self.left_out + len(self.findings) - len(kept))


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


def as_text(finding: ReportedFinding) -> str:
    """A finding in the form that editors and terminals make a link of: file:line."""
    lines = f"{finding.line}-{finding.end_line}" if finding.end_line > finding.line else f"{finding.line}"
    return f"{finding.file}:{lines}: {finding.category}: {finding.cause}\n    Fix: {finding.fix}"


def as_document(
    reviews: Sequence[Review], *, reviewer: str, offline: bool, base: str | None
) -> dict[str, Any]:
    """The JSON document of `review --json`. Keys are only ever added to it."""
    return {
        "reviewer": reviewer,
        "offline": offline,
        "base": base,
        "findings": [asdict(finding) for review in reviews for finding in review.findings],
        "left_out": sum(review.left_out for review in reviews),
        "files": [
            {"file": review.file, "review": review.text, "problem": review.problem or None}
            for review in reviews
        ],
        "cost": total_cost(reviews)._asdict(),
    }


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 file", "2 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Text that cannot move a terminal's cursor, recolour it or reverse what is read: controls become U+FFFD."""
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text)
